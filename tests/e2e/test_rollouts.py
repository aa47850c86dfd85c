"""Whole rollouts on the real cluster, in the order in which a line would live them: each test starts from the
champion that the one before left, and every one of them runs under steady traffic of which nothing may be lost."""

from __future__ import annotations

import copy
import os
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import MODEL
from tests.harness.lab import Version
from tests.harness.line import Line
from tests.harness.models import Namespace

Versions = dict[str, Version]


@pytest.fixture(scope="module")
def manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """The example, with its unsure pieces counted by the monitor in place of the pods."""
    changed = copy.deepcopy(manifest)
    metrics = changed["spec"]["canary"]["analysis"]["metrics"]
    (unsure,) = (metric for metric in metrics if metric["name"] == "unsure")
    del unsure["bad"], unsure["total"]
    unsure |= {"type": "Confidence", "below": 0.6}
    return changed


def test_a_version_trained_on_wrong_labels_is_rolled_back_and_its_pods_go(
    serving: Namespace, line: Line, versions: Versions
) -> None:
    bad = versions["mislabelled"]
    serving.set_version(MODEL, bad.digest)
    serving.until_outcome(MODEL, bad.digest, "RolledBack")
    serving.until(lambda: serving.status(MODEL)["phase"] == "RolledBack", "the champion serves alone", 60)
    status = serving.status(MODEL)
    assert status["champion"]["version"] == versions["modest"].digest
    assert [entry["version"] for entry in status["quarantined"]] == [bad.digest]
    assert "RolledBack" in serving.reasons(MODEL)
    unsure = next(metric for metric in status["metrics"] if metric["name"] == "unsure")
    assert unsure["verdict"] == "Fail", "it answers, and fast: only its confidence speaks against it"
    serving.until(
        lambda: serving.pods_of_version(MODEL, bad.digest) == [], "the failed version holds no pod any more", 180
    )
    assert line.tally().by_version.get(bad.digest, 0) > 0, "the canary never had real traffic"


def test_a_version_that_errors_is_rolled_back_though_the_one_before_it_was_too(
    serving: Namespace, line: Line, versions: Versions
) -> None:
    bad = versions["png-only"]
    before = line.tally().by_version.get(versions["mislabelled"].digest, 0)
    serving.set_version(MODEL, bad.digest)
    serving.until_outcome(MODEL, bad.digest, "RolledBack")
    assert serving.champion(MODEL) == versions["modest"].digest
    leaked = line.tally().by_version.get(versions["mislabelled"].digest, 0) - before
    assert leaked == 0, "the version quarantined earlier got traffic again"
    assert line.tally().refused > 0, "the canary never refused a JPEG: nothing was tested"


def test_a_quarantined_version_is_not_tried_again(serving: Namespace, line: Line, versions: Versions) -> None:
    bad = versions["mislabelled"]
    serving.set_version(MODEL, bad.digest)
    serving.until(lambda: "Quarantined" in serving.reasons(MODEL), "an event says that the version is quarantined", 60)
    assert serving.champion(MODEL) == versions["modest"].digest
    assert bad.digest not in line.tally().by_version


def test_a_good_version_is_promoted_step_by_step(serving: Namespace, line: Line, versions: Versions) -> None:
    good = versions["good"]
    serving.set_version(MODEL, good.digest)
    serving.until_outcome(MODEL, good.digest, "Promoted", 420)
    assert serving.champion(MODEL) == good.digest
    assert serving.status(MODEL)["phase"] == "Stable"
    reasons = serving.reasons(MODEL)
    assert {"CanaryStarted", "StepAdvanced", "Promoted"} <= set(reasons)
    assert sum(serving.observed_weights(MODEL).values()) == 100
    assert line.tally().by_version[good.digest] > 0


def test_the_operators_own_metrics_tell_the_same_story(serving: Namespace) -> None:
    query = f'puzzle_rollouts_total{{namespace="{serving.name}", model="{MODEL}"}}'

    def ended() -> dict[str, float]:
        answer = httpx.get(f"{os.environ['PUZZLE_PROMETHEUS_URL']}/api/v1/query", params={"query": query}, timeout=10)
        return {item["metric"]["outcome"]: float(item["value"][1]) for item in answer.json()["data"]["result"]}

    serving.until(lambda: ended().get("Promoted") == 1, "the promotion is counted", 60)
    assert ended()["RolledBack"] == 2


def test_deleting_the_model_removes_what_it_made(serving: Namespace) -> None:
    serving.remove(MODEL)
    serving.until(lambda: serving.inference_service(MODEL) is None, "the InferenceService is gone", 120)
    serving.until(lambda: serving.pods() == [], "its pods are gone", 180)
