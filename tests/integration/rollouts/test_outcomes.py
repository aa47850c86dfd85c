"""What comes of everything that may happen to a rollout, on the real KServe: `docs/outcomes.md`, row by row."""

from __future__ import annotations

import time
from typing import Any

from kubernetes import client

from puzzle_operator.api.names import RETRY_ANNOTATION
from tests.harness.models import Namespace
from tests.integration.rollouts.conftest import MODEL, Operator, Versions
from tests.integration.rollouts.traffic import Traffic


def rolled_back(space: Namespace, version: str) -> dict[str, Any]:
    """Wait for the end of a failed rollout; its record."""
    space.until_outcome(MODEL, version, "RolledBack", 150)
    space.until(lambda: space.status(MODEL)["phase"] == "RolledBack", "the champion is back", 90)
    rollout: dict[str, Any] = space.status(MODEL)["rollout"]
    return rollout


def revisions_with_pods(space: Namespace) -> set[str]:
    """Versions of the revisions that Knative still keeps pods for."""
    return {
        item["metadata"]["annotations"]["puzzlenet.dev/version"]
        for item in space.revisions(MODEL)
        if (item.get("status") or {}).get("desiredReplicas")
    }


def test_a_failing_challenger_is_rolled_back_and_its_pods_are_let_go(
    stable: Namespace, traffic: Traffic, versions: Versions
) -> None:
    bad = versions("fails")
    stable.set_version(MODEL, bad)
    rollout = rolled_back(stable, bad)
    assert rollout["firstTrafficAt"] < rollout["decidedAt"] < rollout["zeroTrafficAt"]
    assert {"RolledBack", "TrafficWithdrawn"} <= set(stable.reasons(MODEL))
    stable.until(lambda: bad not in revisions_with_pods(stable), "the failed version holds no pods", 60)
    # 500 is the challenger's own answer; anything else would be a request lost on the way.
    assert set(traffic.lost) <= {"500"}, f"lost on the way: {traffic.lost}"


def test_a_quarantined_version_starts_again_when_it_is_retried(stable: Namespace, versions: Versions) -> None:
    bad = versions("fails")
    stable.set_version(MODEL, bad)
    stable.until(lambda: stable.status(MODEL)["reason"] == "Quarantined", "it is refused", 30)
    stable.patch(MODEL, {"metadata": {"annotations": {RETRY_ANNOTATION: bad}}})
    stable.until(lambda: stable.status(MODEL)["phase"] == "Starting", "it is tried again", 30)
    assert RETRY_ANNOTATION not in stable.get(MODEL)["metadata"]["annotations"]
    assert "Retried" in stable.reasons(MODEL)


def test_a_crashing_challenger_loses_its_traffic_in_seconds(
    stable: Namespace, traffic: Traffic, versions: Versions
) -> None:
    bad = versions("crashes")
    stable.set_version(MODEL, bad)
    rolled_back(stable, bad)
    withdrawn = time.monotonic()
    time.sleep(20)
    lost = traffic.lost_since(withdrawn)
    assert not lost, f"still losing requests: {lost}, {traffic.lost} over all"


def test_a_challenger_that_does_not_load_is_rolled_back_with_its_last_words(
    stable: Namespace, traffic: Traffic, versions: Versions
) -> None:
    bad = versions("refuses")
    stable.set_version(MODEL, bad)
    rollout = rolled_back(stable, bad)
    assert rollout["cause"]["reason"] in {"ProgressDeadlineExceeded", "GuardRestarts"}
    assert "firstTrafficAt" not in rollout
    if rollout["cause"]["reason"] == "ProgressDeadlineExceeded":
        assert "this version does not load" in rollout["cause"]["message"]
    stable.until(lambda: stable.pods_of_version(MODEL, bad) == [], "the failed version holds no pods", 90)
    assert not traffic.lost


def test_a_killed_operator_goes_on_where_it_was(
    stable: Namespace, traffic: Traffic, operator: Operator, versions: Versions
) -> None:
    new = versions("answers", 2)
    stable.set_version(MODEL, new)
    stable.until(lambda: int(stable.status(MODEL).get("samples") or 0) > 5, "the challenger has samples", 90)
    operator.kill()
    before = stable.status(MODEL)
    weights = stable.observed_weights(MODEL)
    time.sleep(5)
    assert stable.observed_weights(MODEL) == weights, "without an operator nothing moves"
    operator.start()
    stable.until(lambda: stable.status(MODEL)["samples"] > before["samples"], "it counts on", 30)
    after = stable.status(MODEL)
    assert after["rollout"]["startedAt"] == before["rollout"]["startedAt"]
    stable.set_version(MODEL, versions("answers", 1))
    stable.until_outcome(MODEL, new, "Aborted", 60)
    assert not traffic.lost


def test_a_paused_canary_keeps_its_weight_and_goes_on_later(
    stable: Namespace, traffic: Traffic, versions: Versions
) -> None:
    new = versions("answers", 3)
    stable.set_version(MODEL, new)
    stable.until(lambda: stable.observed(MODEL) == 20, "the challenger has its first weight", 60)
    stable.patch(MODEL, {"spec": {"paused": True}})
    stable.until(lambda: stable.status(MODEL)["reason"] == "Paused", "it is paused", 10)
    time.sleep(12)
    assert stable.observed(MODEL) == 20
    stable.patch(MODEL, {"spec": {"paused": False}})
    stable.until(lambda: stable.observed(MODEL) == 50, "it goes on", 30)
    assert "Resumed" in stable.reasons(MODEL)
    assert not traffic.lost


def test_a_newer_version_takes_over_from_a_challenger_in_progress(
    stable: Namespace, traffic: Traffic, versions: Versions
) -> None:
    old, new = versions("answers", 4), versions("answers", 5)
    stable.set_version(MODEL, old)
    stable.until(lambda: stable.observed(MODEL) > 0, "the challenger has traffic", 60)
    stable.set_version(MODEL, new)
    stable.until(
        lambda: (stable.status(MODEL).get("challenger") or {}).get("version") == new, "the newer one starts", 60
    )
    stable.until(lambda: stable.observed(MODEL) > 0, "the newer one has traffic", 60)
    assert all(entry["version"] != old for entry in stable.status(MODEL).get("quarantined", []))
    assert "Superseded" in stable.reasons(MODEL)
    assert not traffic.lost


def test_a_hand_edit_in_mid_canary_is_undone(stable: Namespace, traffic: Traffic, versions: Versions) -> None:
    new = versions("answers", 6)
    stable.set_version(MODEL, new)
    stable.until(lambda: stable.observed(MODEL) == 20, "the challenger has its first weight", 60)
    stable.patch(MODEL, {"spec": {"paused": True}})
    stable.until(lambda: stable.status(MODEL)["reason"] == "Paused", "it is paused", 10)
    stable.patch_inference_service(MODEL, {"spec": {"predictor": {"canaryTrafficPercent": 77}}})
    stable.until(lambda: "DriftCorrected" in stable.reasons(MODEL), "the edit is undone", 20)
    service = stable.inference_service(MODEL)
    assert service is not None and service["spec"]["predictor"]["canaryTrafficPercent"] == 20
    assert not traffic.lost


def test_a_deleted_service_comes_back_with_the_champion_and_then_the_challenger(
    stable: Namespace, versions: Versions
) -> None:
    new = versions("answers", 7)
    stable.set_version(MODEL, new)
    stable.until(lambda: stable.status(MODEL)["phase"] in {"Starting", "Canary"}, "a rollout goes on", 60)
    began = stable.status(MODEL)["rollout"]["startedAt"]
    stable.delete_inference_service(MODEL)
    stable.until(lambda: "Recreated" in stable.reasons(MODEL), "it is made again", 60)

    def started_again() -> bool:
        status = stable.status(MODEL)
        return status["phase"] in {"Starting", "Canary"} and status["rollout"]["startedAt"] > began

    stable.until(started_again, "the challenger starts again", 90)
    assert stable.champion(MODEL) == versions("answers", 1)


def test_an_edit_of_serving_makes_no_rollout(stable: Namespace, traffic: Traffic, versions: Versions) -> None:
    revision = stable.inference_service(MODEL)["status"]["components"]["predictor"]["latestReadyRevision"]  # type: ignore[index]
    stable.patch(MODEL, {"spec": {"serving": {"timeout": "20s"}}})

    def moved() -> bool:
        weights = stable.observed_weights(MODEL)
        return revision not in weights and sum(weights.values()) == 100

    stable.until(moved, "a new revision of the champion serves", 60)
    assert stable.status(MODEL)["phase"] == "Stable"
    assert stable.champion(MODEL) == versions("answers", 1)
    assert not traffic.lost


def test_a_resting_model_is_not_written_to(stable: Namespace) -> None:
    time.sleep(8)
    before = stable.get(MODEL)["metadata"]["resourceVersion"]
    time.sleep(15)
    assert stable.get(MODEL)["metadata"]["resourceVersion"] == before


def test_a_missing_version_or_secret_is_named_and_the_champion_stays(stable: Namespace, versions: Versions) -> None:
    stable.set_version(MODEL, "sha256:" + "0" * 64)
    stable.until(lambda: stable.status(MODEL)["reason"] == "VersionNotFound", "the version is missing", 30)
    condition = next(c for c in stable.status(MODEL)["conditions"] if c["type"] == "Progressing")
    assert "s3://puzzle-integration/versions/sha256-000" in condition["message"]
    stable.patch(MODEL, {"spec": {"storage": {"secretRef": {"name": "no-such-secret"}}}})
    stable.until(lambda: stable.status(MODEL)["reason"] == "SecretMissing", "the Secret is missing", 30)
    assert stable.champion(MODEL) == versions("answers", 1)
    assert sum(stable.observed_weights(MODEL).values()) == 100


def test_a_status_that_somebody_broke_is_repaired(stable: Namespace, versions: Versions) -> None:
    stable.custom.patch_namespaced_custom_object_status(
        "puzzlenet.dev", "v1alpha1", stable.name, "puzzlemodels", MODEL, {"status": None}
    )
    stable.until(lambda: stable.champion(MODEL) == versions("answers", 1), "the champion is found again", 60)
    assert "Adopted" in stable.reasons(MODEL)


def test_a_good_challenger_is_promoted_and_nothing_is_lost(
    stable: Namespace, traffic: Traffic, manifest: dict[str, Any], versions: Versions
) -> None:
    new = versions("answers", 8)
    stable.set_version(MODEL, new)
    stable.until_outcome(MODEL, new, "Promoted", 180)
    assert stable.champion(MODEL) == new
    stable.until(lambda: stable.status(MODEL)["phase"] == "Stable", "it rests", 30)
    assert traffic.answered[new] > 0
    assert not traffic.lost
    # Two canaries in a row: what is not the challenger's must stay on the new champion (kserve#2097).
    first = versions("answers", 1)
    stable.set_version(MODEL, first)
    stable.until_outcome(MODEL, first, "Promoted", 180)
    assert "TrafficHealed" not in stable.reasons(MODEL), stable.describe()
    assert not traffic.lost


def test_deleting_the_model_removes_what_it_made_with_the_operator_down(stable: Namespace, operator: Operator) -> None:
    operator.kill()
    stable.remove(MODEL, 20)
    stable.until(lambda: stable.inference_service(MODEL) is None, "the InferenceService is gone", 60)
    identities: Any = client.CoreV1Api().list_namespaced_service_account(stable.name)
    assert f"{MODEL}-serving" not in {item.metadata.name for item in identities.items}
