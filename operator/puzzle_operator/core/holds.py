"""What of the line keeps a rollout where it is, though nothing speaks against the challenger.

Neither is a verdict. Champion and challenger see the same camera, so pictures that are wrong harm both, and evidence
against the challenger stays evidence; but it says little about pictures as they should be. And two scores of drift
cannot be compared, since each is taken against a reference of its own; but a challenger whose detector is sure, and
whose labels or confidence say that it does harm, no longer meets what it was accepted for.
"""

from __future__ import annotations

from dataclasses import dataclass

from puzzle_operator.api.analysis import HoldOn
from puzzle_operator.api.conditions import Reason
from puzzle_operator.api.status import PuzzleModelStatus, Rollout

from .facts import Facts, Missing
from .monitor import InputHealth, MonitorState

_TOO_FEW = frozenset({"Missing", "Volume"})
HELD = frozenset({Reason.HELD_INPUT_UNHEALTHY, Reason.HELD_CHALLENGER_DRIFT})


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a rollout does not go on, and what lets it."""

    reason: Reason
    message: str
    ends: str


def hold_of(facts: Facts, status: PuzzleModelStatus) -> Hold | None:
    """What holds the rollout in progress; None also when the monitor does not say."""
    spec, monitor, rollout = facts.model.spec, facts.monitor, status.active
    if rollout is None or isinstance(monitor, Missing) or not spec.records.enabled:
        return None
    wanted = spec.canary.analysis.hold_on
    if HoldOn.INPUT_UNHEALTHY in wanted and _are_bad(monitor.input):
        return Hold(
            Reason.HELD_INPUT_UNHEALTHY,
            f"the line's pictures are not what they should be: {_problems(monitor.input)}",
            "goes on when the pictures are as they should be",
        )
    # What drifts after the promotion is the new champion, and retraining is the answer: it waits for the bake to end.
    watched = HoldOn.CHALLENGER_DRIFT in wanted and spec.drift.enabled and rollout.promoted_at is None
    return _drift_of_challenger(monitor, status, rollout) if watched else None


def _drift_of_challenger(monitor: MonitorState, status: PuzzleModelStatus, rollout: Rollout) -> Hold | None:
    report = monitor.drift_of(rollout.challenger)
    if report is None or not report.does_harm:
        return None
    if report.since is not None and report.since < rollout.started_at:
        return None  # of an earlier rollout of the same version, or of its time as a champion
    champion = monitor.drift_of(status.champion.version) if status.champion else None
    if champion is not None and champion.does_harm:
        return None  # the world has changed for both: to keep the older one helps nobody, and evidence tells the better
    said = f": {report.message}" if report.message else ""
    return Hold(
        Reason.HELD_CHALLENGER_DRIFT,
        f"the challenger's own drift is confirmed and does harm, the champion's does not{said}",
        "goes on when its drift is over, when a newer version is named, or by a person's decision",
    )


def _are_bad(seen: InputHealth) -> bool:
    """Whether the pictures that came are bad. Too few are too little evidence, which has a deadline of its own."""
    kinds = {problem.kind for problem in seen.problems}
    return seen.healthy is False and (not kinds or bool(kinds - _TOO_FEW))


def _problems(seen: InputHealth) -> str:
    told = seen.message or " ".join(problem.message or problem.kind for problem in seen.problems)
    return told[:300] or "the monitor does not say what is wrong"


__all__ = ["HELD", "Hold", "hold_of"]
