"""Labelled pieces judge a challenger on the real cluster before it gets any traffic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from puzzlenet.render.piece import CLASSES
from tests.e2e.conftest import MODEL
from tests.harness.inspector import Inspector, monitor_client
from tests.harness.lab import Version
from tests.harness.line import Line, Piece
from tests.harness.models import Namespace
from tests.harness.settings import RELEASE, SYSTEM_NAMESPACE, Settings

RATE = 8.0
LABELLED = 120

Versions = dict[str, Version]


@pytest.fixture(scope="module")
def manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Every picture is kept, so that few minutes are enough to have some that people have labelled."""
    return {**manifest, "spec": {**manifest["spec"], "records": {"imageShare": 1.0}}}


@pytest.fixture(scope="module")
def camera(settings: Settings, serving: Namespace, pieces: list[Piece]) -> Iterator[Line]:
    """A line whose every piece is looked at by somebody."""
    with (
        Inspector(CLASSES) as inspector,
        Line(settings.ingress_url, serving.host(MODEL), pieces, RATE, on_answer=inspector.see) as running,
    ):
        yield running


def _monitor(path: str, **query: str) -> Any:
    with monitor_client("read") as monitor:
        return monitor.get(path, params=query).raise_for_status().json()


def _replay(space: Namespace) -> dict[str, Any]:
    return dict((space.status(MODEL).get("rollout") or {}).get("replay") or {})


def _jobs(space: Namespace) -> list[str]:
    listed: Any = client.BatchV1Api().list_namespaced_job(space.name, label_selector="puzzlenet.dev/replay")
    return [job.metadata.name for job in listed.items]


def _pods_made(space: Namespace, job: str) -> int:
    """How often the Job of this name had a pod made, in all its lives."""
    listed: Any = space.core.list_namespaced_event(space.name, field_selector=f"involvedObject.name={job}")
    return len([event for event in listed.items if event.reason == "SuccessfulCreate"])


def test_a_version_that_is_worse_on_labelled_pieces_gets_no_traffic(
    serving: Namespace, camera: Line, versions: Versions
) -> None:
    path = f"/v1/models/{serving.name}/{MODEL}"
    serving.until(lambda: _monitor(path)["state"]["labels"]["images"] >= LABELLED, f"{LABELLED} pieces are labelled")
    bad = versions["mislabelled"].digest
    serving.set_version(MODEL, bad)
    serving.until_outcome(MODEL, bad, "RolledBack")
    replay, rollout = _replay(serving), serving.status(MODEL)["rollout"]
    print(f"\n{replay['message']}")
    assert replay["outcome"] == "Failed" and rollout["cause"]["reason"] == "ReplayFailed"
    assert "firstTrafficAt" not in rollout
    assert camera.tally().by_version.get(bad, 0) == 0
    assert {"Replaying", "ReplayFailed", "RolledBack"} <= set(serving.reasons(MODEL))
    # It has answered every piece, and nothing of that is on record: neither a prediction nor a Job.
    found = _monitor("/v1/predictions", namespace=serving.name, model=MODEL, version=bad)
    assert found["predictions"] == []
    serving.until(lambda: _jobs(serving) == [], "its Job is gone", 60)


def test_a_good_one_goes_on_and_its_evidence_begins_with_live_traffic(
    serving: Namespace, camera: Line, versions: Versions
) -> None:
    good = versions["good"].digest
    serving.set_version(MODEL, good)
    serving.until(lambda: serving.status(MODEL)["rollout"]["challenger"] == good, "its rollout has begun")
    serving.until(lambda: bool(_replay(serving).get("jobUid")), "pieces are shown to it")
    name = _replay(serving)["job"]
    serving.restart_deployment(SYSTEM_NAMESPACE, RELEASE)
    serving.until(lambda: serving.status(MODEL)["phase"] == "Canary", "the good version has passed its replay")
    replay = _replay(serving)
    print(f"\n{replay['message']} ({replay['startedAt']} to {replay['finishedAt']}, an operator was killed in between)")
    assert replay["outcome"] == "Passed" and replay["pieces"] >= LABELLED / 2
    assert _pods_made(serving, name) == 1, "the operator that was started anew showed the pieces again"
    assert "ReplayPassed" in serving.reasons(MODEL)
    serving.until_outcome(MODEL, good, "Promoted")
    # Each request that counted as evidence was one of the line's.
    samples, answered = serving.status(MODEL)["samples"], camera.tally().by_version[good]
    print(f"{samples} requests were evidence, {answered} the line's")
    assert samples <= answered
    assert camera.tally().lost == 0
