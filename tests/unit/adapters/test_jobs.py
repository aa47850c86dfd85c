"""Training Jobs and pods as the API server shows them, read into facts; and the verbs that are used on them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from puzzle_operator.adapters.jobs import (
    create_trainers_service,
    create_training_job,
    delete_training_job,
    list_training_jobs,
    read_jobs,
)
from puzzle_operator.adapters.kube import NotFoundError
from puzzle_operator.core.retraining.facts import JobState
from puzzle_operator.manifests.training_team import trainers_service
from puzzle_operator.ports import Conflict, Rejected
from tests.builders import a_model

RUN = "line-1-drift-1-ab12"


def a_job(name: str = RUN, counter: int = 1, owner: str = "uid-line-1", **status: Any) -> dict[str, Any]:
    return {
        "kind": "Job",
        "metadata": {
            "name": name,
            "uid": f"job-{name}",
            "creationTimestamp": "2026-11-23T14:00:00Z",
            "labels": {"puzzlenet.dev/run": RUN, "puzzlenet.dev/run-counter": str(counter)},
            "annotations": {"puzzlenet.dev/run-trigger": "drift"},
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "status": status,
    }


def a_pod(
    name: str = "p", at: str = "2026-11-23T14:00:01Z", job: str = RUN, index: str | None = None, **status: Any
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "creationTimestamp": at,
        "labels": {"batch.kubernetes.io/job-name": job},
    }
    if index is not None:
        metadata["annotations"] = {"batch.kubernetes.io/job-completion-index": index}
    return {"metadata": metadata, "status": status}


def ended(code: int, message: str) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message}}
    return {"containerStatuses": [{"name": "sidecar", "state": {}}, {"name": "trainer", "state": state}]}


@pytest.mark.parametrize(
    ("conditions", "state", "reason"),
    [
        ([], JobState.ACTIVE, ""),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], JobState.ACTIVE, ""),
        ([{"type": "Complete", "status": "True"}], JobState.SUCCEEDED, ""),
        ([{"type": "Failed", "status": "False"}], JobState.ACTIVE, ""),
        ([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}], JobState.FAILED, "DeadlineExceeded"),
    ],
)
def test_a_job_has_ended_when_its_condition_says_so(conditions: Any, state: JobState, reason: str) -> None:
    (run,) = read_jobs([a_job(conditions=conditions)], [])
    assert (run.state, run.reason, run.run, run.counter, run.trigger) == (state, reason, RUN, 1, "drift")


def test_the_newest_pod_comes_first_and_pods_of_others_are_left_out() -> None:
    pods = [
        a_pod("old", phase="Failed", **ended(1, "store away")),
        a_pod("new", "2026-11-23T14:05:00Z", phase="Succeeded", **ended(0, '{"outcome": "Accepted"}')),
        a_pod("other", job=f"{RUN}-cpu", phase="Running"),
    ]
    (run,) = read_jobs([a_job()], pods)
    assert [(pod.name, pod.exit_code) for pod in run.pods] == [("new", 0), ("old", 1)]
    assert run.pods[0].last_words == '{"outcome": "Accepted"}'


def test_a_pod_that_was_evicted_is_quoted_by_the_kubelets_words() -> None:
    said = 'Usage of EmptyDir volume "work" exceeds the limit "20Gi".'
    pods = [
        a_pod(phase="Failed", reason="Evicted", message=said, **ended(137, "")),
        a_pod("q", phase="Failed", message=said),
    ]
    (run,) = read_jobs([a_job()], pods)
    assert sorted(pod.last_words for pod in run.pods) == ["", said]


def test_why_a_pod_waits_are_the_schedulers_words_or_its_containers() -> None:
    message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    waiting = {"name": "trainer", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    starting = {"name": "trainer", "state": {"waiting": {"reason": "ContainerCreating"}}}
    pods = [
        a_pod("a", phase="Pending", conditions=[scheduled]),
        a_pod("b", phase="Pending", containerStatuses=[waiting]),
        a_pod("c", phase="Pending", containerStatuses=[starting]),
    ]
    (run,) = read_jobs([a_job()], pods)
    found = {pod.name: (pod.pending, pod.unschedulable) for pod in run.pods}
    assert found == {
        "a": (message, True),
        "b": ("ImagePullBackOff: no such image", False),
        "c": ("", False),
    }


def test_of_several_workers_each_is_known_by_its_number() -> None:
    pods = [
        a_pod("one", index="1", phase="Failed", **ended(1, "store away")),
        a_pod("one-again", "2026-11-23T14:05:00Z", index="1", phase="Running"),
        a_pod("zero", "2026-11-23T14:01:00Z", index="0", phase="Running"),
    ]
    (run,) = read_jobs([a_job(failedIndexes="1,3-5")], pods)
    assert [(pod.name, pod.worker) for pod in run.current] == [("zero", 0), ("one-again", 1)]
    assert [pod.name for pod in run.deciding] == ["zero"]
    assert run.failed_worker == 1
    (alone,) = read_jobs([a_job()], [a_pod(phase="Running")])
    assert (alone.failed_worker, [pod.worker for pod in alone.pods]) == (None, [0])


class Api:
    """Remembers what it is asked, and answers as told."""

    def __init__(self, jobs: list[Any], *, refuses: Exception | None = None) -> None:
        self.jobs, self.refuses = jobs, refuses
        self.asked: list[tuple[str, str, Any]] = []

    async def get(self, path: str, **query: str) -> Any:
        self.asked.append(("GET", path, query))
        if path.endswith("/pods"):
            return {"items": [a_pod(phase="Running")]}
        if path.endswith("/jobs"):
            return {"items": self.jobs}
        if not self.jobs:
            raise NotFoundError(path, known_kind=True)
        return self.jobs[0]

    async def post(self, path: str, body: Any) -> Any:
        self.asked.append(("POST", path, body))
        if self.refuses is not None:
            raise self.refuses
        return body

    async def delete(self, path: str, **query: str) -> Any:
        self.asked.append(("DELETE", path, query))
        if not self.jobs:
            raise NotFoundError(path, known_kind=True)


def test_jobs_of_another_model_of_this_name_are_not_ours() -> None:
    api = Api([a_job(), a_job("stale", owner="uid-before")])
    found = asyncio.run(list_training_jobs(api, a_model().build()))  # type: ignore[arg-type]
    assert [run.name for run in found] == [RUN]
    assert [pod.phase for pod in found[0].pods] == ["Running"]
    assert api.asked[0][2] == {"labelSelector": "puzzlenet.dev/model=line-1,puzzlenet.dev/run"}


def test_without_jobs_no_pods_are_asked_for() -> None:
    api = Api([])
    assert asyncio.run(list_training_jobs(api, a_model().build())) == ()  # type: ignore[arg-type]
    assert len(api.asked) == 1


def test_a_job_that_exists_is_made_once() -> None:
    api = Api([a_job()], refuses=Conflict("exists"))
    asyncio.run(create_training_job(api, a_model().build(), a_job()))  # type: ignore[arg-type]


def test_a_job_of_somebody_else_is_refused_by_its_name() -> None:
    api = Api([a_job(owner="somebody")], refuses=Conflict("exists"))
    with pytest.raises(Rejected, match=f"a Job named {RUN} exists"):
        asyncio.run(create_training_job(api, a_model().build(), a_job()))  # type: ignore[arg-type]


def test_a_job_goes_with_its_pods_and_may_be_gone_already() -> None:
    api = Api([a_job()])
    asyncio.run(delete_training_job(api, "lyon", RUN))  # type: ignore[arg-type]
    assert api.asked == [("DELETE", f"/apis/batch/v1/namespaces/lyon/jobs/{RUN}", {"propagationPolicy": "Background"})]
    asyncio.run(delete_training_job(Api([]), "lyon", RUN))  # type: ignore[arg-type]


def test_the_service_of_the_workers_is_made_once_and_never_taken_from_somebody() -> None:
    model = a_model().build()
    service = trainers_service(model)
    api = Api([{"metadata": service["metadata"]}], refuses=Conflict("exists"))
    asyncio.run(create_trainers_service(api, model, service))  # type: ignore[arg-type]
    assert [path for _, path, _ in api.asked] == [
        "/api/v1/namespaces/lyon/services",
        "/api/v1/namespaces/lyon/services/line-1-trainers",
    ]
    theirs = Api([{"metadata": {"name": "line-1-trainers"}}], refuses=Conflict("exists"))
    with pytest.raises(Rejected, match="a Service named line-1-trainers exists and was not made for this PuzzleModel"):
        asyncio.run(create_trainers_service(theirs, model, service))  # type: ignore[arg-type]
