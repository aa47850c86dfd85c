"""What the monitor is to know of a model (`ModelSettings` of docs/monitor.md). Pure."""

from __future__ import annotations

import math

from puzzle_common.durations import parse_duration
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.monitoring import DataQuality, Drift
from puzzle_operator.api.resource import PuzzleModel

_USUAL_RATE = 1.0
"""Pictures a second of a line of which nothing is known yet."""
_FEWEST, _MOST = 1_000, 10_000_000
_STICKS = 5.0
"""A number is kept until the line's rate says another by this factor: a new one starts the detector again."""


def monitor_settings(model: PuzzleModel, run_images: int, *, https: bool, owner: str | None = None) -> JsonObject:
    """The settings of a model; the same until its spec, its versions or its line's pace change."""
    spec, status = model.spec, model.status
    active = status.active
    return {
        "line": spec.line,
        "champion": status.champion.version if status.champion else None,
        "challenger": active.challenger if active is not None else None,
        "drift": _drift(spec.drift, run_images) if spec.drift.enabled and spec.records.enabled else None,
        "data_quality": _data_quality(spec.data_quality) if spec.records.enabled else None,
        "labels_wanted": spec.retraining.triggers.new_labels if spec.retraining.enabled else None,
        "labels_used": status.retraining.labels_used if status.retraining else 0,
        "owner": owner,
        "storage": {"endpoint": spec.storage.endpoint, "bucket": spec.storage.bucket, "secure": https},
    }


def run_images(spec: Drift, rate: float | None, before: int | None) -> int:
    """Pictures between two false alarms: as the spec says, or the line's rate times the time between them.

    Rounded to 1, 3, 10, 30 …, and the number of before is kept while it is about right, so that a busy hour does not
    start a detector again.
    """
    if spec.expected_run_images is not None:
        return spec.expected_run_images
    if before is not None and not rate:
        return before
    wanted = (rate or _USUAL_RATE) * parse_duration(spec.expected_run_time).total_seconds()
    wanted = min(_MOST, max(_FEWEST, wanted))
    if before is not None and before / _STICKS < wanted < before * _STICKS:
        return before
    power = math.floor(2 * math.log10(wanted) + 0.5)
    return int((1 if power % 2 == 0 else 3) * 10 ** (power // 2))


def _drift(spec: Drift, images: int) -> JsonObject:
    return {
        "backend": str(spec.backend),
        "detector": str(spec.detector),
        "expected_run_images": images,
        "confirm_windows": spec.confirm.windows,
    }


def _data_quality(spec: DataQuality) -> JsonObject:
    return {
        "max_lateness_s": parse_duration(spec.max_lateness).total_seconds(),
        "min_images": spec.min_images,
        "size": list(spec.size) if spec.size else None,
        "brightness": list(spec.brightness) if spec.brightness else None,
    }
