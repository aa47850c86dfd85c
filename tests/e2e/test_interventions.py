"""What people and machines do to a rollout that is under way: edits, pauses, restarts, hands on the InferenceService.
`docs/outcomes.md` says what must come of each; here it is seen on the real cluster, under steady traffic."""

from __future__ import annotations

from tests.e2e.conftest import MODEL
from tests.harness.lab import Version
from tests.harness.line import Line
from tests.harness.models import Namespace
from tests.harness.settings import RELEASE, SYSTEM_NAMESPACE

Versions = dict[str, Version]


def test_an_unknown_version_is_refused_by_name_and_the_champion_stays(
    serving: Namespace, line: Line, versions: Versions
) -> None:
    serving.set_version(MODEL, "sha256:" + "0" * 64)
    serving.until(lambda: "VersionNotFound" in serving.reasons(MODEL), "an event names the missing version", 60)
    assert serving.champion(MODEL) == versions["modest"].digest
    serving.set_version(MODEL, versions["modest"].digest)


def test_a_canary_survives_a_pause_an_operator_restart_and_is_superseded_by_a_newer_version(
    serving: Namespace, line: Line, versions: Versions
) -> None:
    first, newer = versions["png-only"], versions["good"]
    serving.patch(MODEL, {"spec": {"paused": True}})
    serving.set_version(MODEL, newer.digest)
    serving.until(lambda: "Paused" in serving.reasons(MODEL), "an event says that it is paused", 60)
    serving.patch(MODEL, {"spec": {"paused": False}})
    serving.until(lambda: serving.observed(MODEL) > 0, "the challenger has traffic")

    serving.patch(MODEL, {"spec": {"paused": True}})
    started = serving.status(MODEL)["rollout"]["startedAt"]
    serving.restart_deployment(SYSTEM_NAMESPACE, RELEASE)
    after = serving.status(MODEL)
    assert after["rollout"]["startedAt"] == started, "the restart began a second rollout"
    assert serving.observed(MODEL) > 0

    serving.set_version(MODEL, first.digest)
    serving.until_outcome(MODEL, newer.digest, "Superseded", 120, finished_by=first.digest)
    serving.patch(MODEL, {"spec": {"paused": False}})
    serving.until_outcome(MODEL, first.digest, "RolledBack")
    quarantined = [entry["version"] for entry in serving.status(MODEL).get("quarantined", [])]
    assert quarantined == [first.digest], "a superseded version is not a failed one"


def test_naming_the_champion_again_aborts_the_canary(serving: Namespace, line: Line, versions: Versions) -> None:
    serving.set_version(MODEL, versions["good"].digest)
    serving.until(lambda: serving.observed(MODEL) > 0, "the challenger has traffic")
    serving.set_version(MODEL, versions["modest"].digest)
    serving.until_outcome(MODEL, versions["good"].digest, "Aborted", 120)
    assert serving.champion(MODEL) == versions["modest"].digest


def test_a_hand_on_the_inference_service_is_corrected(serving: Namespace, line: Line, versions: Versions) -> None:
    serving.until(lambda: serving.status(MODEL).get("phase") == "Stable", "the champion serves alone")
    serving.patch_inference_service(MODEL, {"spec": {"predictor": {"maxReplicas": 7}}})
    serving.until(lambda: "DriftCorrected" in serving.reasons(MODEL), "an event says that the edit was undone", 90)
    service = serving.inference_service(MODEL)
    assert service is not None
    assert service["spec"]["predictor"]["maxReplicas"] == 1
    assert serving.champion(MODEL) == versions["modest"].digest


def test_a_share_set_by_hand_at_rest_is_taken_away(serving: Namespace, line: Line, versions: Versions) -> None:
    """At rest the share is not a field of ours, and server-side apply would leave somebody else's alone."""
    serving.until(lambda: serving.status(MODEL).get("phase") == "Stable", "the champion serves alone")
    serving.patch_inference_service(MODEL, {"spec": {"predictor": {"canaryTrafficPercent": 30}}})

    def undone() -> bool:
        service = serving.inference_service(MODEL) or {}
        return "canaryTrafficPercent" not in service.get("spec", {}).get("predictor", {"canaryTrafficPercent": 0})

    serving.until(undone, "the share is gone again", 60)
    serving.until(lambda: serving.observed_weights(MODEL) != {} and serving.status(MODEL)["phase"] == "Stable", "rest")
    assert set(serving.observed_weights(MODEL).values()) == {100}
    assert serving.champion(MODEL) == versions["modest"].digest


def test_a_deleted_inference_service_comes_back_with_the_champion(serving: Namespace, versions: Versions) -> None:
    serving.delete_inference_service(MODEL)
    serving.until(lambda: "Recreated" in serving.reasons(MODEL), "an event says that it was made again", 90)
    serving.until(
        lambda: serving.status(MODEL).get("phase") == "Stable" and serving.observed_weights(MODEL) != {},
        "the champion serves again",
    )
    assert serving.champion(MODEL) == versions["modest"].digest
