"""The Job of a shadow replay as the API server shows it, read into facts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from puzzle_operator.adapters.kube import NotFoundError
from puzzle_operator.adapters.replays import find_replay_job, read_replay_job
from puzzle_operator.core.retraining.facts import JobState
from tests.builders import a_model

NAME = "line-1-replay-12ab34cd"


def a_job(owner: str = "uid-line-1", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": NAME, "uid": "j1", "ownerReferences": [{"uid": owner, "controller": True}]},
        "status": status,
    }


def a_pod(at: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": at, "creationTimestamp": at}, "status": status}


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "other", "state": {}}, {"name": "trainer", "state": state}]}


class Api:
    def __init__(self, job: dict[str, Any] | None, pods: list[dict[str, Any]]) -> None:
        self.job, self.pods, self.asked = job, pods, list[tuple[str, dict[str, str]]]()

    async def get(self, path: str, **query: str) -> Any:
        self.asked.append((path, query))
        if path.endswith("/pods"):
            return {"items": self.pods}
        if self.job is None:
            raise NotFoundError(path, known_kind=True)
        return self.job


def found(job: dict[str, Any] | None, pods: list[dict[str, Any]] | None = None) -> Any:
    return asyncio.run(find_replay_job(Api(job, pods or []), a_model().build(), NAME))  # type: ignore[arg-type]


def test_there_is_none_and_one_of_somebody_else_is_none() -> None:
    assert found(None) is None
    assert found(a_job(owner="somebody")) is None


@pytest.mark.parametrize(
    ("conditions", "state", "reason"),
    [
        ([], JobState.ACTIVE, ""),
        ([{"type": "Complete", "status": "True"}], JobState.SUCCEEDED, ""),
        ([{"type": "Complete", "status": "False"}], JobState.ACTIVE, ""),
        (
            [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}],
            JobState.FAILED,
            "DeadlineExceeded: too long",
        ),
    ],
)
def test_it_has_ended_when_its_condition_says_so(conditions: Any, state: JobState, reason: str) -> None:
    job = found(a_job(conditions=conditions))
    assert (job.name, job.uid, job.state, job.reason) == (NAME, "j1", state, reason)


def test_the_newest_pods_last_words_count() -> None:
    pods = [
        a_pod("2026-11-23T14:00:09Z", **container(terminated={"message": '{"outcome": "Compared"}'})),
        a_pod("2026-11-23T14:00:01Z", **container(terminated={"message": "evicted"})),
    ]
    assert read_replay_job(a_job(), pods).last_words == '{"outcome": "Compared"}'


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}, "0/1 nodes"),
        (container(waiting={"reason": "ErrImagePull", "message": "no such image"}), "ErrImagePull: no such image"),
        (container(waiting={"reason": "ContainerCreating"}), ""),
        ({}, ""),
    ],
)
def test_why_it_does_not_start(status: dict[str, Any], why: str) -> None:
    assert read_replay_job(a_job(), [a_pod("2026-11-23T14:00:01Z", **status)]).pending == why
