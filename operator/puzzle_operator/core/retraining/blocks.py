"""What keeps a run that is asked for from beginning, each with a word for scripts and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from puzzle_common.durations import parse_duration
from puzzle_operator.api.retraining import MAX_STARTS, Retraining, RetrainingStatus, RunOutcome
from puzzle_operator.api.status import PuzzleModelStatus
from puzzle_operator.api.v1alpha1 import Automation
from puzzle_operator.core.facts import Missing
from puzzle_operator.core.names import short
from puzzle_operator.core.rules.deploying import obstacle
from puzzle_operator.core.situation import AT_REST, Situation

from .triggers import ACCURACY, DRIFT, REQUEST, Fired


@dataclass(frozen=True, slots=True)
class Block:
    """Why not now."""

    code: str
    message: str


COOLDOWN = "Cooldown"


def block(s: Situation, after: PuzzleModelStatus, state: RetrainingStatus, fired: Fired) -> Block | None:
    """What is in the way of this trigger; None when the run may begin.

    `after` is the status as the rollout leaves it in this pass. A person waits for neither cooldown nor automation,
    but the budget binds everybody: an annotation may come from a machine that has gone mad.
    """
    found = _standing(s, after)
    if found is None and fired.kind != REQUEST:
        found = _unanswered(s, state, fired) or _manual(s) or cooldown(s, state)
    return found or budget(s.facts.model.spec.retraining, state, s.now)


def _standing(s: Situation, after: PuzzleModelStatus) -> Block | None:
    if not s.facts.can_train:
        return Block("NoTrainer", "the operator has no image for trainers (PUZZLE_TRAINER_IMAGE)")
    if not isinstance(s.facts.jobs, tuple):
        why = s.facts.jobs.reason if isinstance(s.facts.jobs, Missing) else "they were not read"
        return Block("NoJobs", f"the Jobs cannot be seen: {why}")
    if after.champion is None:
        return Block("NoChampion", "no version serves yet, and a challenger needs a champion to be compared with")
    if s.paused:
        return Block("Paused", "spec.paused is true")
    if after.phase not in AT_REST:
        return Block("Rollout", "a rollout is in progress; the run begins when it has ended")
    if s.target and s.target != s.champion and obstacle(s) is None:
        return Block("Rollout", f"version {short(s.target)} is about to be rolled out")
    return None


def _unanswered(s: Situation, state: RetrainingStatus, fired: Fired) -> Block | None:
    """Drift and low accuracy have been answered when an accepted version waits for somebody to name it."""
    if fired.kind not in {DRIFT, ACCURACY} or waiting_version(s, state) is None:
        return None
    return Block("VersionWaits", f"accepted version {short(state.version)} waits to be named in spec.model.version")


def waiting_version(s: Situation, state: RetrainingStatus) -> str | None:
    """The version that the last run made and the gate accepted, when the spec pins another one."""
    version = state.version
    if state.outcome is not RunOutcome.ACCEPTED or not version or s.facts.model.spec.model.is_auto:
        return None
    if version in {s.champion, s.target} or s.status.quarantine_of(version) is not None:
        return None
    replaced = any(entry.version == version for entry in s.status.history)
    return None if replaced else version


def _manual(s: Situation) -> Block | None:
    if s.facts.model.spec.automation is not Automation.MANUAL:
        return None
    return Block("Manual", "automation is Manual: `kubectl puzzle retrain` begins it")


def cooldown(s: Situation, state: RetrainingStatus) -> Block | None:
    """The cooldown after a run; a rollback of what the run made begins it anew."""
    until = cooldown_until(s, state)
    if until is None or s.now >= until:
        return None
    return Block(COOLDOWN, f"the cooldown of {s.facts.model.spec.retraining.cooldown} lasts until {_stamp(until)}")


def cooldown_until(s: Situation, state: RetrainingStatus) -> datetime | None:
    """End of the cooldown; None before the first run."""
    if state.finished_at is None:
        return None
    begins, rollout = state.finished_at, s.status.rollout
    ours = rollout is not None and rollout.challenger == state.version and rollout.cause is not None
    if ours and rollout is not None and rollout.finished_at is not None:
        begins = max(begins, min(rollout.finished_at, s.now))
    return begins + parse_duration(s.facts.model.spec.retraining.cooldown)


def budget(spec: Retraining, state: RetrainingStatus, now: datetime) -> Block | None:
    """The budget of runs."""
    counted = starts_within(spec, state.starts, now)
    if len(counted) < spec.budget.runs:
        return None
    free = counted[-spec.budget.runs] + parse_duration(spec.budget.per)
    return Block(
        "Budget",
        f"{len(counted)} runs began within {spec.budget.per}, and the budget is {spec.budget.runs}; "
        f"the next one may begin at {_stamp(free)}",
    )


def starts_within(spec: Retraining, starts: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    """The starts that still count for the budget, the oldest first."""
    since = now - parse_duration(spec.budget.per)
    return tuple(sorted(start for start in starts if start > since))[-MAX_STARTS:]


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
