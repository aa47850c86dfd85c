"""What the monitor is told: the wire format of docs/monitor.md, and a number that does not jitter."""

from __future__ import annotations

import pytest

from puzzle_operator.api.conditions import Outcome
from puzzle_operator.api.monitoring import Drift
from puzzle_operator.api.retraining import RetrainingStatus
from puzzle_operator.api.status import PuzzleModelStatus, Rollout, VersionRef
from puzzle_operator.manifests.monitor_settings import monitor_settings, run_images
from tests.builders import T0, V1, V2, ModelBuilder, a_model


def a_canarying_model() -> ModelBuilder:
    status = PuzzleModelStatus(champion=VersionRef(version=V1), rollout=Rollout(challenger=V2, started_at=T0))
    return a_model().with_status(status)


def test_the_settings_of_a_model_in_a_rollout() -> None:
    builder = a_canarying_model()
    builder.body["spec"]["dataQuality"] = {"size": [128, 96], "brightness": [0.1, 0.9], "minImages": 500}
    assert monitor_settings(builder.build(), 30_000, https=False) == {
        "line": "line-1",
        "champion": V1,
        "challenger": V2,
        "drift": {
            "backend": "alibi-detect",
            "detector": "MMDOnline",
            "expected_run_images": 30_000,
            "confirm_windows": 3,
        },
        "data_quality": {"max_lateness_s": 900.0, "min_images": 500, "size": [128, 96], "brightness": [0.1, 0.9]},
        "labels_wanted": None,
        "labels_used": 0,
        "owner": None,
        "storage": {"endpoint": "minio.puzzle-system:9000", "bucket": "puzzlenet", "secure": False},
    }


def test_the_review_page_is_told_how_many_labels_start_a_training() -> None:
    builder = a_canarying_model()
    builder.body["spec"]["retraining"] = {"enabled": True, "triggers": {"newLabels": 1000}}
    assert monitor_settings(builder.build(), 1, https=False)["labels_wanted"] == 1000


def test_the_review_page_is_told_how_many_labels_a_run_has_used() -> None:
    status = PuzzleModelStatus(retraining=RetrainingStatus(labels_used=1200, labels_at_start=1300))
    settings = monitor_settings(a_model().with_status(status).build(), 1, https=True, owner="cluster/blue")
    assert (settings["labels_used"], settings["owner"]) == (1200, "cluster/blue")


def test_a_rollout_that_has_ended_has_no_challenger() -> None:
    status = PuzzleModelStatus(
        champion=VersionRef(version=V1), rollout=Rollout(challenger=V2, started_at=T0, outcome=Outcome.ROLLED_BACK)
    )
    assert monitor_settings(a_model().with_status(status).build(), 1, https=True)["challenger"] is None


@pytest.mark.parametrize(("records", "drift", "watched"), [(True, False, True), (False, True, False)])
def test_nothing_is_watched_that_is_switched_off(records: bool, drift: bool, watched: bool) -> None:
    builder = a_canarying_model()
    builder.body["spec"] |= {"records": {"enabled": records}, "drift": {"enabled": drift}}
    settings = monitor_settings(builder.build(), 1000, https=True)
    assert settings["drift"] is None
    assert (settings["data_quality"] is not None) is watched


@pytest.mark.parametrize(
    ("rate", "before", "images"),
    [
        (None, None, 100_000),
        (0.0, None, 100_000),
        (None, 3_000_000, 3_000_000),
        (0.0, 3_000_000, 3_000_000),
        (20.0, None, 1_000_000),
        (40.0, None, 3_000_000),
        (40.0, 1_000_000, 1_000_000),
        (60.0, 1_000_000, 3_000_000),
        (0.000001, None, 1_000),
        (1e9, None, 10_000_000),
    ],
)
def test_pictures_between_false_alarms_follow_the_line_in_coarse_steps(
    rate: float | None, before: int | None, images: int
) -> None:
    assert run_images(Drift(), rate, before) == images


def test_a_number_in_the_spec_is_the_number() -> None:
    assert run_images(Drift(expected_run_images=12_345), 40.0, 1_000_000) == 12_345


def test_a_rate_that_wavers_starts_no_detector_again() -> None:
    known, seen = None, set()
    for rate in (9.0, 14.0, 7.0, 20.0, 11.0, 25.0, 9.0) * 3:
        known = run_images(Drift(), rate, known)
        seen.add(known)
    assert len(seen) == 1
