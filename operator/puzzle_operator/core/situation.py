"""The facts of a pass in the words that rules use, and the moves that rules can make.

A rule looks at a `Situation` and returns a `Move` or None. Everything that merely follows from what is seen,
such as when the challenger first had traffic, is booked here before the first rule runs, so that rules only
decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

from puzzle_common.durations import parse_duration
from puzzle_operator.api.canary import Canary
from puzzle_operator.api.conditions import ConditionType, Outcome, Phase, Reason, Verdict
from puzzle_operator.api.status import (
    MAX_HISTORY,
    Cause,
    HistoryEntry,
    PuzzleModelStatus,
    Rollout,
    VersionRef,
    Weight,
)

from .canary import SCRAPE_GRACE, Judgement, judge, last_look, settle_memory
from .facts import Facts, Service
from .holds import Hold, hold_of
from .replay.machine import look
from .retraining.auto import resolve
from .retraining.facts import Decisions
from .traffic import Plan, is_settled_on, observed_share, pods_of, ready_revision, safe_plan

BAKE_WEIGHT = 99
"""Per cent of a promoted challenger while it bakes: the last one keeps the champion's pods up (ADR 0003)."""
JUDGED = frozenset({Phase.CANARY, Phase.BAKING})
FORWARD = frozenset({Phase.STARTING, Phase.CANARY, Phase.BAKING, Phase.PROMOTING})
AT_REST = frozenset({Phase.STABLE, Phase.ROLLED_BACK})


class Pace(Enum):
    """How soon the next pass is due, unless something wakes the model before."""

    MOVING = "moving"
    """KServe is doing something: look again in a second or two."""
    JUDGING = "judging"
    """A canary is judged: at the analysis interval."""
    BLOCKED = "blocked"
    """Something is missing that may appear: within half a minute."""
    RESTING = "resting"
    """Nothing is going on."""


@dataclass(frozen=True, slots=True)
class Note:
    """One event for people."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Flag:
    """What a condition should say."""

    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """What a rule decided, before it becomes a status.

    Attributes:
        status: with the fields that the rule changed; columns, conditions and transitions are filled in
        later. plan: what the InferenceService is to say; None leaves it alone. announce: whether a change of
        `reason` is worth an event of that reason.
    """

    status: PuzzleModelStatus
    reason: Reason
    message: str
    plan: Plan | None
    pace: Pace
    next: str = ""
    notes: tuple[Note, ...] = ()
    flags: dict[ConditionType, Flag] = field(default_factory=dict)
    announce: bool = False
    drop: tuple[str, ...] = ()

    def noting(self, reason: Reason, message: str) -> Move:
        """The same with one more event, before the others."""
        return replace(self, notes=(Note(reason, message), *self.notes))


@dataclass(frozen=True, slots=True)
class Situation:
    """Facts, status and the verdict, as one pass sees them."""

    facts: Facts
    status: PuzzleModelStatus
    judgement: Judgement | None
    hold: Hold | None = None
    """What of the line keeps the rollout where it is."""

    @property
    def now(self) -> datetime:
        return self.facts.now

    @property
    def canary(self) -> Canary:
        return self.facts.model.spec.canary

    @property
    def paused(self) -> bool:
        return self.facts.model.spec.paused

    @property
    def target(self) -> str:
        """The version that the spec means; empty when `auto` has none to choose."""
        return target_of(self.facts, self.status)

    @property
    def phase(self) -> Phase:
        return self.status.phase

    @property
    def service(self) -> Service | None:
        return self.facts.service if isinstance(self.facts.service, Service) else None

    @property
    def champion(self) -> str:
        """The version that everything is measured against; empty before the first one serves."""
        return self.status.champion.version if self.status.champion else ""

    @property
    def rollout(self) -> Rollout | None:
        """The rollout in progress."""
        return self.status.active

    @property
    def going(self) -> Rollout:
        """The rollout in progress, for rules that have made sure that there is one.

        Raises:
            LookupError: if there is none.
        """
        if self.status.active is None:
            raise LookupError(f"{self.facts.model.key}: phase {self.phase} without a rollout")
        return self.status.active

    @property
    def wanted(self) -> int:
        """The share that the present phase gives the challenger."""
        return self.status.weight.wanted if self.status.weight else 0

    @property
    def observed(self) -> int:
        """The share that KServe shows for the challenger."""
        if self.service is None or self.rollout is None:
            return 0
        return observed_share(self.service, self.rollout.challenger)

    def has_all_traffic(self, version: str) -> bool:
        """Whether KServe shows everything on this version, and keeps it there."""
        service = self.service
        return (
            service is not None
            and service.observed
            and observed_share(service, version) == 100
            and is_settled_on(service, version)
            and service.latest_rolled_out == service.latest_ready
        )

    def champion_plan(self) -> Plan:
        return safe_plan(self.service, self.champion, None)

    def move(
        self,
        reason: Reason,
        message: str,
        *,
        plan: Plan | None,
        pace: Pace,
        phase: Phase | None = None,
        next: str = "",
        announce: bool = False,
        flags: dict[ConditionType, Flag] | None = None,
        drop: tuple[str, ...] = (),
        **changes: object,
    ) -> Move:
        """A move with some fields of the status changed."""
        if phase is not None:
            changes["phase"] = phase
        return Move(
            status=self.status.but(**changes),
            reason=reason,
            message=message,
            plan=plan,
            pace=pace,
            next=next,
            announce=announce,
            flags=flags or {},
            drop=drop,
        )

    def back_to_champion(self, reason: Reason, message: str) -> Move:
        """Somebody or something else moved what we decided: the rollout is interrupted, the champion put back."""
        return self.move(
            reason,
            message,
            phase=Phase.RESTORING,
            plan=self.champion_plan(),
            pace=Pace.MOVING,
            rollout=self.ended(Outcome.INTERRUPTED),
            challenger=None,
            weight=Weight(),
        ).noting(reason, message)

    def ended(self, outcome: Outcome, **changes: object) -> Rollout | None:
        """The present rollout with an outcome; its evidence is dropped, its times stay for the record."""
        if self.rollout is None:
            return self.status.rollout
        return self.rollout.but(outcome=outcome, finished_at=self.now, memory=(), frozen_since=None, **changes)

    def history_with(self, version: str, outcome: str, message: str, replaced: str | None) -> tuple[HistoryEntry, ...]:
        """The decisions with one more, bounded."""
        entry = HistoryEntry(at=self.now, version=version, outcome=outcome, replaced=replaced, message=message)
        return (*self.status.history, entry)[-MAX_HISTORY:]

    def elapsed_at_step(self) -> timedelta:
        """How long KServe has shown the present weight, without the time the clock stood still."""
        if self.rollout is None or self.rollout.step_started_at is None:
            return timedelta(0)
        until = self.rollout.frozen_since or self.now
        return max(timedelta(0), until - self.rollout.step_started_at)

    @property
    def is_inconclusive(self) -> bool:
        """Whether the step's evidence is still open after the deadline, and after the time that the step takes."""
        if self.phase is not Phase.CANARY or self.judgement is None or self.judgement.verdict is not Verdict.HOLD:
            return False
        steps, step = self.canary.steps, self.going.step
        stay = steps[step].stay() if step < len(steps) else timedelta(0)
        return self.elapsed_at_step() >= max(stay, parse_duration(self.canary.inconclusive.deadline))


def observe(facts: Facts) -> Situation:
    """The situation of this pass: the stored status with everything booked that was seen since."""
    status = _consistent(facts.model.status)
    service = facts.service if isinstance(facts.service, Service) else None
    rollout, judgement = status.active, None
    if rollout is not None and service is not None and status.champion is not None:
        rollout = _book_times(status, rollout, service, facts.now)
        if status.phase is Phase.STARTING:
            rollout = look(facts, rollout)
        if status.phase in JUDGED:
            canary = facts.model.spec.canary
            rollout = _book_absence(rollout, parse_duration(canary.analysis.interval), facts.now)
            wanted = status.weight.wanted if status.weight else 0
            shown = observed_share(service, rollout.challenger) == wanted
            counted = shown and rollout.step_started_at is not None
            judgement = judge(facts, service, rollout, status.champion.version, counted=counted)
            rollout = rollout.but(memory=judgement.memory)
            blind = judgement.verdict is Verdict.UNKNOWN or not shown
            frozen = facts.model.spec.paused or blind or hold_of(facts, status) is not None
            if frozen and rollout.frozen_since is None:
                rollout = rollout.but(memory=settle_memory(rollout, canary))
            rollout = _book_freeze(rollout, frozen, facts.now)
        status = status.but(rollout=rollout)
        if judgement is not None:
            status = status.but(metrics=judgement.metrics, samples=judgement.requests, verdict=judgement.verdict)
    return Situation(facts, status.but(awaiting=None), judgement, hold_of(facts, status))


def _consistent(status: PuzzleModelStatus) -> PuzzleModelStatus:
    """A phase that fits the rest of the status, whatever somebody wrote into it."""
    phase = status.phase
    if status.champion is None:
        fits = phase in {Phase.PENDING, Phase.DEPLOYING}
        return status if fits else status.but(phase=Phase.PENDING, rollout=None)
    if phase in {Phase.PENDING, Phase.DEPLOYING}:
        phase = Phase.RESTORING
    if phase in FORWARD | {Phase.ROLLING_BACK} and status.active is None:
        phase = Phase.RESTORING
    rollout = status.rollout
    if rollout is not None and rollout.is_active and phase in AT_REST | {Phase.RESTORING}:
        rollout = rollout.but(outcome=Outcome.INTERRUPTED, memory=())
    if rollout is not None and rollout.is_active and rollout.challenger == status.champion.version:
        rollout, phase = rollout.but(outcome=Outcome.INTERRUPTED, memory=()), Phase.RESTORING
    return status.but(phase=phase, rollout=rollout)


def _book_times(status: PuzzleModelStatus, rollout: Rollout, service: Service, now: datetime) -> Rollout:
    share = observed_share(service, rollout.challenger)
    revision = ready_revision(service, rollout.challenger)
    if revision is not None:
        rollout = rollout.but(revision=revision.name, ready_at=rollout.ready_at or now)
    if share > 0 and rollout.first_traffic_at is None:
        rollout = rollout.but(first_traffic_at=now)
    wanted = status.weight.wanted if status.weight else 0
    if status.phase in JUDGED and share == wanted and rollout.step_started_at is None:
        rollout = rollout.but(step_started_at=now)
    pods = pods_of(service, rollout.challenger)
    unready = status.phase is not Phase.STARTING and share > 0 and bool(pods) and not any(pod.ready for pod in pods)
    # A time that lies ahead, because a clock went back, is taken for now.
    rollout = rollout.but(unready_since=min(rollout.unready_since or now, now) if unready else None)
    if status.phase is Phase.ROLLING_BACK and share == 0 and service.observed and rollout.zero_traffic_at is None:
        rollout = rollout.but(zero_traffic_at=now)
    return rollout


def _book_absence(rollout: Rollout, interval: timedelta, now: datetime) -> Rollout:
    """Time in which nobody looked, because the operator was down, is no time at the step."""
    last, started = last_look(rollout.memory), rollout.step_started_at
    if last is None or started is None or rollout.frozen_since is not None:
        return rollout
    unseen = now - max(last, started)
    if unseen <= 3 * interval + SCRAPE_GRACE:
        return rollout
    return rollout.but(step_started_at=started + unseen - interval)


def _book_freeze(rollout: Rollout, frozen: bool, now: datetime) -> Rollout:
    """The clock of a step stands still while the rollout is paused, blind or held; then it goes on where it was."""
    if frozen:
        return rollout if rollout.frozen_since is not None else rollout.but(frozen_since=now)
    if rollout.frozen_since is None:
        return rollout
    started = rollout.step_started_at
    if started is not None:
        started += now - max(started, rollout.frozen_since)
    return rollout.but(frozen_since=None, step_started_at=started)


def target_of(facts: Facts, status: PuzzleModelStatus) -> str:
    """The version that is meant, with this status. A registry that does not answer changes nothing."""
    return resolve(facts.model, status, facts.decisions if isinstance(facts.decisions, Decisions) else None)


def champion_ref(service: Service | None, version: str, since: datetime) -> VersionRef:
    """A champion, with the revision that runs it."""
    revision = ready_revision(service, version) if service is not None else None
    return VersionRef(version=version, revision=revision.name if revision else None, since=since)


__all__ = [
    "AT_REST",
    "BAKE_WEIGHT",
    "FORWARD",
    "JUDGED",
    "Cause",
    "Flag",
    "Move",
    "Note",
    "Pace",
    "Situation",
    "champion_ref",
    "observe",
    "target_of",
]
