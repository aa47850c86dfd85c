"""KServe's, Knative's and the kubelet's objects to facts, in a stable order; the API's refusals to our
errors."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from puzzle_operator.adapters.cluster import KubeCluster, read_service
from puzzle_operator.adapters.kube import Kube, NotFoundError, _checked
from puzzle_operator.core.facts import Absence, Share
from puzzle_operator.ports import Conflict, Credentials, Forbidden, Rejected, Unavailable
from tests.builders import V1, a_model

MODEL = a_model().build()
OWNER = {"kind": "PuzzleModel", "name": "line-1", "uid": "uid-line-1", "controller": True}


def an_isvc(**meta: Any) -> dict[str, Any]:
    predictor = {
        "latestCreatedRevision": "r2",
        "latestReadyRevision": "r1",
        "latestRolledoutRevision": "r1",
        "traffic": [
            {"revisionName": "r1", "latestRevision": True},
            {"revisionName": "r1", "percent": 100, "tag": "prev"},
        ],
    }
    return {
        "metadata": {"uid": "u", "generation": 4, "ownerReferences": [OWNER], **meta},
        "status": {
            "components": {"predictor": predictor},
            "conditions": [
                {"type": "Ready", "status": "False", "message": "b"},
                {"type": "PredictorReady", "status": "False", "message": "revision failed"},
            ],
        },
    }


def a_pod(**status: Any) -> dict[str, Any]:
    labels = {"serving.knative.dev/revision": "r1"}
    return {"metadata": {"name": "p", "labels": labels}, "status": status}


def test_a_service_is_read_with_its_traffic_entry_by_entry() -> None:
    service = read_service(MODEL, an_isvc(), [], [])
    assert service.traffic == (Share("r1", 0), Share("r1", 100))
    assert (service.latest_created, service.latest_ready, service.latest_rolled_out) == ("r2", "r1", "r1")
    assert not service.ready
    assert service.message == "PredictorReady: revision failed"


def test_a_service_without_status_is_not_observed_yet() -> None:
    found = an_isvc()
    del found["status"]
    service = read_service(MODEL, found, [], [])
    assert not service.observed
    assert service.traffic == ()


def test_a_revision_tells_its_version_and_its_age_by_generation() -> None:
    item = {
        "metadata": {
            "name": "r1",
            "annotations": {"puzzlenet.dev/version": V1},
            "labels": {"serving.knative.dev/configurationGeneration": "7"},
        },
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "ExitCode1", "message": "boom"}]},
    }
    (revision,) = read_service(MODEL, an_isvc(), [item], []).revisions
    assert (revision.version, revision.generation, revision.ready) == (V1, 7, False)
    assert revision.message == "ExitCode1 boom"


def test_restarts_are_those_of_serving_containers_and_the_last_words_are_kept() -> None:
    crashed = {
        "name": "kserve-container",
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"reason": "Error", "message": "traceback\nthe model does not load"}},
    }
    proxy = {
        "name": "queue-proxy",
        "restartCount": 1,
        "state": {"running": {"startedAt": "2026-11-23T14:00:05Z"}},
    }
    init = {"name": "storage-initializer", "restartCount": 9, "state": {"terminated": {}}}
    pod = a_pod(containerStatuses=[crashed, proxy], initContainerStatuses=[init])
    (seen,) = read_service(MODEL, an_isvc(), [], [pod]).pods
    assert (seen.restarts, seen.waiting) == (4, "CrashLoopBackOff")
    assert seen.message == "container kserve-container: the model does not load"
    assert seen.started is not None and seen.started.second == 5


@pytest.mark.parametrize(
    "state",
    [
        {"terminated": {"reason": "Error", "exitCode": 1, "message": "the model does not load"}},
        {"running": {"startedAt": "2026-11-23T14:00:05Z"}},
    ],
    ids=["it has just ended", "it runs again for a moment"],
)
def test_the_last_words_are_kept_between_two_tries(state: dict[str, Any]) -> None:
    before = {"terminated": {"reason": "Error", "exitCode": 1, "message": "the model does not load"}}
    container = {"name": "c", "restartCount": 1, "ready": False, "state": state, "lastState": before}
    (seen,) = read_service(MODEL, an_isvc(), [], [a_pod(containerStatuses=[container])]).pods
    assert (seen.waiting, seen.message) == ("Error", "container c: the model does not load")


@pytest.mark.parametrize(
    ("code", "ready", "refused"), [(65, False, True), (65, True, False), (1, False, False), (2, False, False)]
)
def test_a_server_that_refuses_its_version_is_told_from_one_that_crashes(code: int, ready: bool, refused: bool) -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": code, "message": "error: it is not signed"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "c", "ready": ready, "state": {"running": {}} if ready else waiting, "lastState": ended}
    (seen,) = read_service(MODEL, an_isvc(), [], [a_pod(containerStatuses=[container])]).pods
    assert seen.refused is refused


def test_a_container_that_recovered_or_ended_well_is_no_trouble() -> None:
    failed = {"terminated": {"reason": "Error", "exitCode": 1}}
    well = {"name": "c", "ready": True, "state": {"running": {}}, "lastState": failed}
    done = {"name": "init", "ready": False, "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}
    pod = a_pod(containerStatuses=[well], initContainerStatuses=[done])
    (seen,) = read_service(MODEL, an_isvc(), [], [pod]).pods
    assert seen.waiting == ""


def test_a_pod_that_starts_or_goes_is_no_trouble() -> None:
    starting = a_pod(containerStatuses=[{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}])
    going = a_pod()
    going["metadata"]["deletionTimestamp"] = "now"
    (seen,) = read_service(MODEL, an_isvc(), [], [starting, going]).pods
    assert (seen.waiting, seen.started) == ("", None)


@pytest.mark.parametrize(
    ("meta", "foreign"),
    [
        ({}, False),
        ({"ownerReferences": [{"kind": "Helm", "name": "x", "uid": "y", "controller": True}]}, True),
        ({"ownerReferences": []}, True),
        (
            {
                "ownerReferences": [],
                "labels": {"app.kubernetes.io/managed-by": "puzzle-operator", "puzzlenet.dev/model": "line-1"},
            },
            False,
        ),
    ],
    ids=["ours", "another controller's", "nobody's", "ours, orphaned"],
)
def test_only_what_was_made_for_the_model_is_taken(meta: dict[str, Any], foreign: bool) -> None:
    assert read_service(MODEL, an_isvc(**meta), [], []).foreign is foreign


def test_labels_that_somebody_took_away_are_noticed() -> None:
    ours = {"app.kubernetes.io/managed-by": "puzzle-operator", "puzzlenet.dev/model": "line-1"}
    assert read_service(MODEL, an_isvc(labels=ours), [], []).labels_intact
    assert not read_service(MODEL, an_isvc(labels={}), [], []).labels_intact
    assert not read_service(MODEL, an_isvc(labels=ours, ownerReferences=[]), [], []).labels_intact


def test_what_a_deleted_model_of_the_name_left_is_waited_for() -> None:
    left = an_isvc(ownerReferences=[{**OWNER, "uid": "an-older-one"}])
    with pytest.raises(Unavailable, match="deleted PuzzleModel"):
        read_service(MODEL, left, [], [])


@pytest.mark.parametrize(
    ("code", "error"),
    [(409, Conflict), (401, Forbidden), (403, Forbidden), (429, Unavailable), (503, Unavailable), (422, Rejected)],
)
def test_the_apis_refusals_keep_their_sentence(code: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="because of the moon"):
        _checked("PATCH", "/x", code, b'{"message": "because of the moon"}')


def test_an_unknown_resource_is_told_from_an_unknown_object() -> None:
    with pytest.raises(NotFoundError) as unknown_kind:
        _checked("GET", "/x", 404, b"404 page not found\n")
    with pytest.raises(NotFoundError) as unknown_object:
        _checked("GET", "/x", 404, b'{"details": {"name": "line-1"}}')
    assert (unknown_kind.value.known_kind, unknown_object.value.known_kind) == (False, True)


@pytest.mark.parametrize("known_kind", [True, False])
def test_a_model_is_gone_only_for_an_api_server_that_knows_models(known_kind: bool) -> None:
    class Nothing:
        async def get(self, path: str, **_: str) -> dict[str, Any]:
            raise NotFoundError(path, known_kind)

    cluster = KubeCluster(cast(Kube, Nothing()))
    if known_kind:
        assert asyncio.run(cluster.model("lyon", "line-1")) is None
    else:
        with pytest.raises(Unavailable, match="does not know PuzzleModels"):
            asyncio.run(cluster.model("lyon", "line-1"))


def test_credentials_do_not_show_their_secret() -> None:
    assert "hunter2" not in repr(Credentials("AKIA123", "hunter2", https=True))


class Answers:
    """An API server without an InferenceService, and with these revisions."""

    def __init__(self, *revisions: str) -> None:
        self.revisions = list(revisions)

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        if path.endswith("/revisions"):
            return {"items": [{"metadata": {"name": name}} for name in self.revisions]}
        raise NotFoundError("not found", known_kind=True)


def test_a_deleted_service_is_not_made_again_before_its_revisions_are_gone() -> None:
    kube, now = Answers("r1", "r2"), [0.0]
    cluster = KubeCluster(cast(Kube, kube), clock=lambda: now[0])
    with pytest.raises(Unavailable, match="its revisions go: r1, r2"):
        asyncio.run(cluster.service(MODEL))
    kube.revisions.clear()
    assert asyncio.run(cluster.service(MODEL)) is Absence.NONE


def test_revisions_that_nobody_collects_are_not_waited_for_for_ever() -> None:
    now = [0.0]
    cluster = KubeCluster(cast(Kube, Answers("orphan")), clock=lambda: now[0])
    with pytest.raises(Unavailable):
        asyncio.run(cluster.service(MODEL))
    now[0] = 21.0
    assert asyncio.run(cluster.service(MODEL)) is Absence.NONE


class Definition:
    """An API server that answers, or does not, for the resource definition."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        assert path == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/puzzlemodels.puzzlenet.dev"
        if self.error is not None:
            raise self.error
        return {"metadata": {"uid": "u-1"}}


def test_a_cluster_is_known_by_its_resource_definition() -> None:
    assert asyncio.run(KubeCluster(cast(Kube, Definition())).identity()) == "u-1"


@pytest.mark.parametrize("error", [Forbidden("no right"), Unavailable("away"), NotFoundError("path", known_kind=True)])
def test_a_cluster_that_does_not_say_what_it_is_has_no_name(error: Exception) -> None:
    assert asyncio.run(KubeCluster(cast(Kube, Definition(error))).identity()) is None
