"""What asks for a run. Each trigger is a function of what is seen; none of them knows what is in a run's way."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cronsim import CronSim, CronSimError

from puzzle_operator.api.retraining import DriftTrigger, Retraining, RetrainingStatus, Signal

from .facts import Observed

REQUEST, DRIFT, ACCURACY, LABELS, DATA, SCHEDULE = "request", "drift", "accuracy", "labels", "data", "schedule"
DEBOUNCE = timedelta(seconds=30)
"""How long drift or accuracy must ask for a run, at two looks at least, before it counts."""
ACCURACY_ALPHA = 0.01
"""Chance that an accuracy that is no lower than wanted looks lower at one look."""
_UNITS: dict[str, float] = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18, "m": 1e-3}
_BINARY = {f"{unit}i": 1024**power for power, unit in enumerate(("K", "M", "G", "T", "P", "E"), start=1)}
_AMOUNT = re.compile(r"^([0-9]*\.?[0-9]+)(e[+-]?[0-9]+|E[+-]?[0-9]+)?([KMGTPE]i|[kMGTPEm])?$")


@dataclass(frozen=True, slots=True)
class Fired:
    """A trigger that asks for a run now."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What asks for a run, the most pressing first; what is remembered of it; what holds a trigger back."""

    fired: tuple[Fired, ...]
    signals: tuple[Signal, ...] = ()
    held: str = ""
    """Why drift and accuracy are not believed now."""
    invalid: str = ""
    """What is wrong with the schedule."""


def look(spec: Retraining, state: RetrainingStatus, seen: Observed | None, now: datetime) -> Looked:
    """All triggers, at one moment."""
    fired: list[Fired] = []
    if state.requested is not None:
        fired.append(Fired(REQUEST, f"somebody asks for it: {state.requested.text}"))
    held, signals = "", []
    if seen is not None:
        for trigger in _signs(spec, seen):
            if seen.healthy is False:
                held = f"{trigger.kind} does not count while the input is not healthy: {seen.health_message}"
                continue
            since = next((s.since for s in state.signals if s.trigger == trigger.kind), now)
            signals.append(Signal(trigger=trigger.kind, since=since))
            if now - since >= DEBOUNCE:
                fired.append(trigger)
        fired += _amounts(spec, state, seen)
    due, invalid = due_slot(spec, state, now)
    if due is not None:
        fired.append(Fired(SCHEDULE, f"the schedule {spec.schedule!r} was due at {due:%Y-%m-%d %H:%M} UTC"))
    return Looked(tuple(fired), tuple(signals), held, invalid)


def _signs(spec: Retraining, seen: Observed) -> Iterator[Fired]:
    wanted = spec.triggers.drift
    harmful = seen.harmful == "Yes"
    if seen.drift == "Confirmed" and (wanted is DriftTrigger.CONFIRMED or (wanted is DriftTrigger.HARMFUL and harmful)):
        yield Fired(DRIFT, f"drift is confirmed{' and harmful' if harmful else ''}: {seen.drift_message}")
    least = spec.triggers.accuracy_below
    if least is not None and is_below(seen.labelled, seen.wrong, least):
        accuracy = 1 - seen.wrong / seen.labelled
        yield Fired(
            ACCURACY,
            f"accuracy is {accuracy:.1%} on {seen.labelled} labelled pieces, below {least:.1%} "
            f"(exact binomial test, alpha {ACCURACY_ALPHA:g})",
        )


def _amounts(spec: Retraining, state: RetrainingStatus, seen: Observed) -> Iterator[Fired]:
    """Counts that only rise need no second look. A store that was emptied counts from nothing again."""
    labels = seen.pictures - min(state.labels_used, seen.pictures)
    if spec.triggers.new_labels is not None and labels >= spec.triggers.new_labels:
        yield Fired(LABELS, f"{labels} labelled pictures that no run has used, {spec.triggers.new_labels} are enough")
    wanted = parse_quantity(spec.triggers.new_data)
    size = seen.picture_bytes - min(state.bytes_used, seen.picture_bytes)
    if wanted is not None and size >= wanted:
        yield Fired(DATA, f"{size:,} bytes of labelled pictures that no run has used, {wanted:,.0f} are enough")


def is_below(labelled: int, wrong: int, accuracy: float) -> bool:
    """Whether so many wrong ones are too many for that accuracy: the exact one-sided binomial test."""
    return labelled > 0 and wrong > labelled * (1 - accuracy) and tail(labelled, wrong, 1 - accuracy) <= ACCURACY_ALPHA


def tail(n: int, least: int, p: float) -> float:
    """Chance of `least` or more among `n`, each with chance `p`; `least` lies above the mean."""
    if least <= 0:
        return 1.0
    log_term = (
        math.lgamma(n + 1)
        - math.lgamma(least + 1)
        - math.lgamma(n - least + 1)
        + least * math.log(p)
        + (n - least) * math.log1p(-p)
    )
    term = math.exp(log_term)
    total, k = term, least
    while k < n and term > total * 1e-12:  # above the mean terms only fall
        term *= (n - k) / (k + 1) * p / (1 - p)
        total, k = total + term, k + 1
    return min(1.0, total)


def due_slot(spec: Retraining, state: RetrainingStatus, now: datetime) -> tuple[datetime | None, str]:
    """The first time of the schedule that has come and was not served, and what is wrong with the schedule."""
    following, invalid = next_slot(spec, state.schedule_from or now, state.slot)
    return (following if following is not None and following <= now else None), invalid


def next_slot(spec: Retraining, after: datetime, served: datetime | None) -> tuple[datetime | None, str]:
    """The first time of the schedule after a moment, and what is wrong with the schedule.

    A time that was served already is passed over: a clock that went back does not serve it twice.
    """
    if spec.schedule is None:
        return None, ""
    try:
        times = CronSim(spec.schedule, after)
        following = next(times)
        return (next(times) if following == served else following), ""
    except (CronSimError, StopIteration) as exc:
        why = str(exc) or "it has no time to come"
        return None, f"spec.retraining.schedule {spec.schedule!r} makes no sense: {why}"


def parse_quantity(amount: int | str | None) -> float | None:
    """A Kubernetes quantity as a number; None for none, or for one that is no quantity."""
    if amount is None:
        return None
    found = _AMOUNT.match(str(amount).strip())
    if found is None:
        return None
    scale: float = {**_UNITS, **_BINARY}[found[3] or ""]
    return float(found[1] + (found[2] or "")) * scale
