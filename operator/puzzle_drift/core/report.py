"""The report of a watch: numbers for machines, and one message for people that carries them too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from puzzle_drift.core.alarm import Phase
from puzzle_drift.core.harm import Harmful, Labels, Verdict
from puzzle_drift.core.watch import Watch


@dataclass(frozen=True, slots=True)
class Report:
    """One element of `drift` in the monitor's state of a model."""

    version: str
    detector: str
    backend: str
    images: int
    score: float | None
    threshold: float | None
    p_value: float | None
    phase: Phase
    harmful: Harmful
    since: str | None
    message: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def report(version: str, watch: Watch, labels: Labels) -> Report:
    """How the watch stands."""
    verdict, look = watch.verdict(labels), watch.last
    return Report(
        version=version,
        detector=watch.wanted.detector,
        backend=watch.wanted.backend,
        images=watch.tally.images,
        score=_finite(look.score) if look else None,
        threshold=_finite(look.threshold) if look else None,
        p_value=look.p_value if look else None,
        phase=watch.alarm.phase,
        harmful=verdict.harmful,
        since=watch.alarm.since,
        message=message(watch, verdict),
    )


def refusal(version: str, detector: str, backend: str, reason: str) -> Report:
    """Why nothing can be said."""
    message = f"Drift is not watched: {reason}."
    return Report(version, detector, backend, 0, None, None, None, Phase.COLLECTING, Harmful.UNKNOWN, None, message)


def message(watch: Watch, verdict: Verdict) -> str:
    """Two or three sentences."""
    alarm, tally, plan = watch.alarm, watch.tally, watch.plan
    if alarm.phase is Phase.COLLECTING:
        missing = max(0, plan.window - tally.looked)
        first = f"{missing} more looks fill the first window of {plan.window} after {_images(tally.images)}."
    elif alarm.phase is Phase.NONE:
        first = f"No drift after {_images(tally.images)}: {_numbers(watch)}."
    elif alarm.phase is Phase.SUSPECTED:
        next_one = _images((alarm.next_look - alarm.looks) * _step(watch))
        first = (
            f"{_numbers(watch)}; {alarm.agreed} of {watch.wanted.confirm_windows} windows without overlap are over "
            f"the threshold since {alarm.since}, the next ends in {next_one}."
        )
    else:
        first = (
            f"Drift since {alarm.since}, confirmed by {alarm.agreed} windows without overlap within "
            f"{_images(alarm.confirmed_images - alarm.since_images + 1)}: {_numbers(watch)}."
        )
    return " ".join(part for part in (first, _harm(verdict), _subsampling(watch), _gaps(watch)) if part)


def _numbers(watch: Watch) -> str:
    look = watch.last
    if look is None:
        return "no test yet"
    relation = "over" if look.exceeds else "not over"
    return f"{watch.detector.name} {look.score:.4g} is {relation} its threshold {look.threshold:.4g}"


def _harm(verdict: Verdict) -> str:
    if not verdict.reason:
        return ""
    opening = {
        Harmful.YES: "It does harm",
        Harmful.NO: "It does no harm",
        Harmful.UNKNOWN: "Whether it does harm is not known",
    }
    return f"{opening[verdict.harmful]}: {verdict.reason}."


def _subsampling(watch: Watch) -> str:
    stride = watch.plan.stride
    if stride == 1:
        return ""
    return (
        f"Every {stride}{_ordinal(stride)} image is looked at: neighbours are alike, and thresholds from "
        f"{watch.plan.references:,} references are meant for {watch.wanted.expected_run_images:,} images between false "
        "alarms."
    )


def _gaps(watch: Watch) -> str:
    tally = watch.tally
    if not tally.unusable:
        return ""
    return f"{_images(tally.unusable)} had nothing that {watch.wanted.detector} can look at."


def _step(watch: Watch) -> int:
    return watch.plan.stride * (1 if watch.plan.streams else watch.plan.window)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
