"""From a move to the whole status: columns, conditions, transitions. The last pure step of a pass.

A status is written only when something in it changed, so nothing here may depend on the time of the pass
alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from puzzle_operator.api.conditions import ConditionType, Phase, Reason, Verdict
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.retraining import RetrainingStatus
from puzzle_operator.api.status import MAX_TRANSITIONS, Condition, PuzzleModelStatus, Transition, Weight

from .canary import Judgement
from .holds import HELD
from .names import short
from .replay.facts import Showing
from .replay.machine import told, work
from .retraining.steps import Step
from .situation import JUDGED, Flag, Move, Note, Pace, Situation, target_of
from .traffic import Plan, abandoned, given_up, observed_share, version_of
from .watched import see_accuracy, see_drift, see_input

_MOVING = frozenset(
    {
        Phase.DEPLOYING,
        Phase.STARTING,
        Phase.CANARY,
        Phase.BAKING,
        Phase.PROMOTING,
        Phase.ROLLING_BACK,
        Phase.RESTORING,
    }
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pass does: make the InferenceService say `plan`, store `status`, tell people `notes`.

    Attributes:
        plan: None leaves the InferenceService alone.
        clear: annotations that were honoured and are to be taken away.
        drop: Knative revisions to delete.
        train: the run whose Job has to exist.
        replay: the replay whose Job has to exist.
        remove: Jobs to delete.
    """

    status: PuzzleModelStatus
    plan: Plan | None
    notes: tuple[Note, ...]
    pace: Pace
    clear: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    train: RetrainingStatus | None = None
    replay: Showing | None = None
    remove: tuple[str, ...] = ()


_FASTEST = (Pace.MOVING, Pace.JUDGING, Pace.BLOCKED, Pace.RESTING)


def record(s: Situation, move: Move, step: Step) -> Decision:
    """The decision of a pass: what the rollout's rule and the step of retraining come to."""
    move = replace(
        move,
        status=move.status.but(retraining=step.status),
        flags={ConditionType.RETRAINING: step.flag, **move.flags},
        notes=(*move.notes, *step.notes),
        pace=min(move.pace, step.pace, key=_FASTEST.index),
    )
    before = s.facts.model.status
    notes = list(move.notes)
    if move.announce and before.reason != move.reason:
        notes.append(Note(move.reason, move.message))
    if before.reason != move.reason and (freed := _freed(s, before.reason)) is not None:
        notes.insert(0, freed)
    if s.facts.model.unreadable_status:
        fields = ", ".join(s.facts.model.unreadable_status)
        notes.insert(0, Note(Reason.STATUS_REPAIRED, f"these fields of the status made no sense: {fields}"))
    status = _columns(s, move)
    if (ended := told(before, status)) is not None:
        notes.insert(0, Note(*ended))
    status, jobs = work(s.facts, status)
    drift, pictures = see_drift(s, before, status), see_input(s, before)
    watched = {ConditionType.DRIFT_DETECTED: drift.flag, ConditionType.INPUT_HEALTHY: pictures.flag}
    notes += [*drift.notes, *pictures.notes]
    status = status.but(
        drift=drift.part,
        input=pictures.part,
        accuracy=see_accuracy(s, before, status),
        observed_generation=s.facts.model.generation,
        reason=str(move.reason),
        message=move.message,
        next=move.next or None,
        transitions=_transitions(s, before, status, move),
        conditions=_conditions(s, before, status, move, watched),
    )
    return Decision(
        status,
        move.plan,
        tuple(notes),
        move.pace,
        drop=move.drop or _to_start_again(s, status, move.plan) or _abandoned(s, status),
        train=step.ensure,
        replay=jobs.ensure,
        remove=(*step.remove, *jobs.remove),
    )


def _freed(s: Situation, held: str | None) -> Note | None:
    """What was waited for is there. A rollout that is taken back while it waits did not get it."""
    rollout = s.status.active
    clock = "; the step's clock goes on" if rollout is not None and rollout.frozen_since is None else ""
    if held == Reason.PAUSED and not s.paused:
        return Note(Reason.RESUMED, "spec.paused is false again")
    sees = s.judgement is not None and s.judgement.verdict is not Verdict.UNKNOWN
    if held == Reason.HELD_METRICS_STALE and sees:
        return Note(Reason.METRICS_RESUMED, f"the metrics are back{clock}")
    if held in HELD and s.rollout is not None and s.hold is None:
        return Note(Reason.HOLD_ENDED, f"nothing of the line holds the rollout any more{clock}")
    return None


def _to_start_again(s: Situation, status: PuzzleModelStatus, plan: Plan | None) -> tuple[str, ...]:
    """What is to serve all traffic is tried until it starts; a challenger has its deadline instead."""
    if s.service is None or s.service.foreign or status.active is not None or plan is None:
        return ()
    return given_up(s.service, plan.version)


def _abandoned(s: Situation, status: PuzzleModelStatus) -> tuple[str, ...]:
    if s.service is None or s.service.foreign or status.champion is None:
        return ()
    active = {status.active.challenger} if status.active is not None else set()
    return abandoned(s.service, frozenset({status.champion.version, *active}))


def _columns(s: Situation, move: Move) -> PuzzleModelStatus:
    status = move.status
    rollout = status.active
    observed = 0
    if rollout is not None and s.service is not None:
        observed = observed_share(s.service, rollout.challenger)
    elif status.champion is not None and s.service is not None:
        # At rest there is no challenger: whatever is not on the champion is astray, and shown.
        named = [share for share in s.service.traffic if version_of(s.service, share.revision)]
        observed = sum(x.percent for x in named) - observed_share(s.service, status.champion.version)
    wanted = status.weight.wanted if status.weight else 0
    challenger = status.challenger
    if challenger is not None and rollout is not None:
        challenger = challenger.but(revision=rollout.revision)
    step = None
    if rollout is not None and status.phase is Phase.CANARY:
        step = f"{rollout.step + 1}/{len(s.canary.steps)}"
    elif status.phase is Phase.BAKING:
        step = "bake"
    judged = s.judgement if status.phase in JUDGED | {Phase.ROLLING_BACK, Phase.PROMOTING} else None
    return status.but(
        weight=Weight(wanted=wanted, observed=observed),
        step=step,
        challenger=challenger,
        target=target_of(s.facts, status) or None,
        champion_short=short(status.champion.version) if status.champion else None,
        challenger_short=short(challenger.version) if challenger else None,
        evidence=_evidence(judged) if judged else _kept(status),
        verdict=status.verdict if status.rollout is not None else None,
    )


def _evidence(seen: Judgement) -> str:
    """How near a Pass and how near a Fail, in one short word; rounded down, since 100 % is a verdict."""
    return f"+{math.floor(100 * seen.passing)}% -{math.floor(100 * seen.nearest)}%"


def _kept(status: PuzzleModelStatus) -> str | None:
    """The last rollout's evidence stays visible until the next one begins."""
    return status.evidence if status.metrics else None


def _transitions(
    s: Situation, before: PuzzleModelStatus, status: PuzzleModelStatus, move: Move
) -> tuple[Transition, ...]:
    if before.phase is status.phase and before.transitions:
        return before.transitions
    entry = Transition(
        at=s.now,
        from_=before.phase if before.transitions else None,
        to=status.phase,
        reason=str(move.reason),
        message=move.message,
    )
    return (*before.transitions, entry)[-MAX_TRANSITIONS:]


def _conditions(
    s: Situation,
    before: PuzzleModelStatus,
    status: PuzzleModelStatus,
    move: Move,
    watched: Mapping[ConditionType, Flag],
) -> tuple[Condition, ...]:
    flags = {
        ConditionType.READY: _ready(s, status),
        ConditionType.PROGRESSING: _progressing(status, move),
        ConditionType.CANARY_HEALTHY: _healthy(s, status),
        ConditionType.METRICS_AVAILABLE: _metrics(s, before, status),
        ConditionType.ROLLED_BACK: _rolled_back(status),
        **watched,
        **move.flags,
    }
    return tuple(_condition_at(s.now, s.facts.model, kind, flags[kind]) for kind in ConditionType)


def _condition_at(now: datetime, model: PuzzleModel, kind: ConditionType, flag: Flag) -> Condition:
    old = model.status.condition(kind)
    since = old.last_transition_time if old is not None and old.status == flag.status else now
    return Condition(
        type=kind,
        status=flag.status,
        reason=str(flag.reason),
        message=flag.message,
        last_transition_time=since,
        observed_generation=model.generation,
    )


def _ready(s: Situation, status: PuzzleModelStatus) -> Flag:
    if status.champion is None:
        return Flag("False", Reason.NOT_READY, "no version serves yet")
    if s.service is None or not s.service.ready:
        why = s.service.message if s.service is not None else "the InferenceService is being made"
        serving = s.service is not None and observed_share(s.service, status.champion.version) > 0
        if serving and status.phase in _MOVING:
            # A starting challenger makes KServe say "not ready" while the champion serves on.
            return Flag("True", Reason.SERVING, f"champion {short(status.champion.version)} serves")
        return Flag("False", Reason.NOT_READY, why)
    return Flag("True", Reason.SERVING, f"champion {short(status.champion.version)} serves")


def _progressing(status: PuzzleModelStatus, move: Move) -> Flag:
    if status.phase in _MOVING:
        return Flag("True", move.reason, move.message)
    return Flag("False", move.reason, move.message)


def _healthy(s: Situation, status: PuzzleModelStatus) -> Flag:
    rollout = status.rollout
    if rollout is None:
        return Flag("Unknown", Reason.NO_ROLLOUT, "no challenger was judged yet")
    if rollout.cause is not None and rollout.cause.quarantine:
        return Flag("False", Reason.FAILING, f"{short(rollout.challenger)}: {rollout.cause.message}")
    if rollout.promoted_at is not None:
        return Flag("True", Reason.HEALTHY, f"{short(rollout.challenger)} passed every step")
    if status.verdict is Verdict.UNKNOWN:
        return Flag("Unknown", Reason.HELD_METRICS_STALE, "the metrics do not say")
    if s.hold is not None and s.hold.reason is Reason.HELD_CHALLENGER_DRIFT:
        return Flag("Unknown", s.hold.reason, f"{short(rollout.challenger)}: {s.hold.message}")
    if status.phase is Phase.CANARY and status.verdict is not None:
        return Flag("True", Reason.HEALTHY, f"nothing speaks against {short(rollout.challenger)} so far")
    return Flag("Unknown", Reason.NOT_CHECKED, f"{short(rollout.challenger)} has no verdict")


def _metrics(s: Situation, before: PuzzleModelStatus, status: PuzzleModelStatus) -> Flag:
    if status.phase in JUDGED and s.judgement is not None:
        return Flag("True", Reason.METRICS_FOUND, "every metric has data")
    old = before.condition(ConditionType.METRICS_AVAILABLE)
    if old is not None and old.status == "True":
        return Flag(old.status, _known(old.reason), old.message)
    return Flag("Unknown", Reason.NOT_CHECKED, "metrics are read when a challenger starts")


def _known(reason: str) -> Reason:
    """A stored reason; somebody may have edited it."""
    return Reason(reason) if reason in set(Reason) else Reason.NOT_CHECKED


def _rolled_back(status: PuzzleModelStatus) -> Flag:
    rollout = status.rollout
    failed = rollout is not None and rollout.cause is not None and rollout.cause.quarantine
    if rollout is None or rollout.cause is None or not failed:
        return Flag("False", Reason.NO_ROLLOUT, "the last rollout was not rolled back")
    return Flag("True", Reason.ROLLED_BACK, f"{short(rollout.challenger)}: {rollout.cause.message}")


def refused(model: PuzzleModel, now: datetime, message: str) -> Decision:
    """The decision when the API server refuses what was decided: say so, and change nothing else."""
    before = model.status
    flags = {
        kind: Flag(old.status, _known(old.reason), old.message)
        for kind in ConditionType
        if (old := before.condition(kind)) is not None
    }
    flags[ConditionType.PROGRESSING] = Flag("False", Reason.REJECTED, message)
    conditions = tuple(_condition_at(now, model, kind, flag) for kind, flag in flags.items())
    notes = () if before.reason == Reason.REJECTED else (Note(Reason.REJECTED, message),)
    status = before.but(
        observed_generation=model.generation,
        reason=str(Reason.REJECTED),
        message=message,
        next="is tried again",
        conditions=conditions,
    )
    return Decision(status, None, notes, Pace.BLOCKED)
