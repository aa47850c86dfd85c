"""The way forward once there is traffic: a challenger climbs the steps, bakes, becomes champion."""

from __future__ import annotations

from dataclasses import replace

from puzzle_common.durations import format_duration, parse_duration
from puzzle_operator.api.canary import InconclusiveAction
from puzzle_operator.api.conditions import ConditionType, Outcome, Phase, Reason, Verdict
from puzzle_operator.api.status import Weight
from puzzle_operator.core.approval import ahead, consent_value, given, needs_consent
from puzzle_operator.core.canary import (
    settle_memory,
    start_bake_memory,
)
from puzzle_operator.core.facts import Reading
from puzzle_operator.core.names import short
from puzzle_operator.core.situation import (
    BAKE_WEIGHT,
    JUDGED,
    Flag,
    Move,
    Pace,
    Situation,
    champion_ref,
)
from puzzle_operator.core.traffic import Plan, safe_plan


def follow_edited_steps(s: Situation) -> Move | None:
    """The steps were edited: stay on the last one that is not above the weight that was earned."""
    if s.phase is not Phase.CANARY or s.rollout is None:
        return None
    steps = s.canary.steps
    if s.rollout.step < len(steps) and steps[s.rollout.step].weight == s.wanted:
        return None
    earned = [index for index, step in enumerate(steps) if step.weight <= s.wanted]
    step = earned[-1] if earned else 0
    weight = steps[step].weight
    message = f"the steps were edited: the challenger has {weight} % now (step {step + 1} of {len(steps)})"
    return _to_step(s, step, message, Reason.STEPS_EDITED)


def freeze_when_paused(s: Situation) -> Move | None:
    """The weight stays; guards and Fail have had their say before this rule."""
    if s.phase not in JUDGED or not s.paused:
        return None
    message = f"spec.paused is true: the challenger stays at {s.wanted} %"
    return stay(s, Reason.PAUSED, message, "goes on when spec.paused is false", held=True)


def freeze_on_unknown(s: Situation) -> Move | None:
    """Without data nothing is decided: no step, no rollback, and the clock stands still."""
    if s.phase not in JUDGED or s.judgement is None or s.judgement.verdict is not Verdict.UNKNOWN:
        return None
    message = f"the weight stays at {s.wanted} %: {s.judgement.message}"
    reason = Reason.METRIC_ABSENT if s.judgement.absent else Reason.METRICS_UNAVAILABLE
    move = stay(s, Reason.HELD_METRICS_STALE, message, "goes on when the metrics are back", held=True)
    move.flags[ConditionType.METRICS_AVAILABLE] = Flag("False", reason, s.judgement.message)
    return move


def wait_for_weight(s: Situation) -> Move | None:
    """Samples of a weight count when KServe shows it."""
    if s.phase not in JUDGED or s.rollout is None:
        return None
    if s.observed == s.wanted and s.rollout.step_started_at is not None:
        return None
    message = f"KServe shows {s.observed} % for the challenger, {s.wanted} % is wanted"
    return stay(s, Reason.WAITING_FOR_WEIGHT, message, f"is judged once KServe shows {s.wanted} %", Pace.MOVING)


def finish_bake(s: Situation) -> Move | None:
    """The bake is a promotion on probation: time, and no failure."""
    if s.phase is not Phase.BAKING or s.rollout is None:
        return None
    left = parse_duration(s.canary.bake) - s.elapsed_at_step()
    if left.total_seconds() > 0:
        message = f"the challenger has {s.wanted} %; the champion is kept warm for {format_duration(left)} more"
        return stay(s, Reason.BAKING, message, f"becomes the champion in {format_duration(left)}")
    message = f"the bake of {s.canary.bake} is over: {short(s.rollout.challenger)} takes all traffic"
    return s.move(
        Reason.BAKE_COMPLETED,
        message,
        phase=Phase.PROMOTING,
        plan=safe_plan(s.service, s.rollout.challenger, None),
        pace=Pace.MOVING,
        next="is the champion once KServe shows 100 %",
        weight=Weight(wanted=100, observed=s.observed),
    ).noting(Reason.BAKE_COMPLETED, message)


def hold_at_step(s: Situation) -> Move | None:
    """Not long enough, or not enough evidence: says which, and how much is missing."""
    if s.phase is not Phase.CANARY or s.judgement is None or s.rollout is None:
        return None
    approval = given(s)
    if approval is not None and approval.without_evidence:
        return None  # a person has decided; Fail, guards and Unknown have had their say before this rule
    step = s.canary.steps[s.rollout.step]
    left = (step.stay() - s.elapsed_at_step()).total_seconds()
    after, open_ended = _after(s), s.is_inconclusive
    promoting = open_ended and s.canary.inconclusive.action is InconclusiveAction.PROMOTE
    if left <= 0 and (s.judgement.verdict is Verdict.PASS or promoting):
        return None
    if left > 0:
        message = f"step {s.rollout.step + 1} at {s.wanted} %: {s.judgement.message}"
        clock = format_duration(step.stay() - s.elapsed_at_step())
        return stay(s, Reason.AT_STEP, message, f"{after} in {clock} at the earliest")
    if open_ended:
        message = f"still inconclusive after {s.canary.inconclusive.deadline} at this step: {s.judgement.message}"
        return stay(s, Reason.INCONCLUSIVE, message, f"{after} once there is enough evidence, or a person decides")
    return stay(s, Reason.HELD_LOW_EVIDENCE, s.judgement.message, f"{after} once there is enough evidence")


def wait_for_approval(s: Situation) -> Move | None:
    """Everything else is in order: with this automation a person has the last word."""
    gate = ahead(s)
    if s.rollout is None or gate is None or given(s) is not None:
        return None
    automation = s.facts.model.spec.automation
    if not needs_consent(automation, gate):
        return None
    found = s.judgement.message if s.judgement is not None else "it is ready, and every metric has data"
    message = f"automation is {automation}: {_after(s)} waits for a person: {found}"
    move = stay(s, Reason.AWAITING_APPROVAL, message, f"{_after(s)} after `kubectl puzzle promote`", held=True)
    return replace(move, status=move.status.but(awaiting=consent_value(s.rollout.challenger, gate)))


def advance(s: Situation) -> Move | None:
    """Pass, long enough, and KServe shows what was asked for: the next step, or promotion after the last."""
    if s.phase is not Phase.CANARY or s.judgement is None or s.rollout is None:
        return None
    step = s.rollout.step + 1
    if step < len(s.canary.steps):
        weight = s.canary.steps[step].weight
        message = (
            f"{s.wanted} % → {weight} % (step {step + 1} of {len(s.canary.steps)}) for challenger "
            f"{short(s.rollout.challenger)}{_grounds(s)}: {s.judgement.message}"
        )
        return _to_step(s, step, message, Reason.STEP_ADVANCED)
    return _promote(s)


def _grounds(s: Situation) -> str:
    """Why it goes on when the evidence alone would not say so."""
    if s.judgement is None or s.judgement.verdict is Verdict.PASS:
        return ""
    if s.is_inconclusive and s.canary.inconclusive.action is InconclusiveAction.PROMOTE:
        return f", inconclusive after {s.canary.inconclusive.deadline} (inconclusive.action is Promote)"
    return ", by a person's decision without waiting for evidence"


def _to_step(s: Situation, step: int, message: str, reason: Reason) -> Move:
    rollout = s.going
    weight = s.canary.steps[step].weight
    requests = s.judgement.requests if s.judgement else rollout.step_base_requests
    moved = rollout.but(
        step=step,
        step_started_at=None,
        step_base_requests=requests,
        frozen_since=None,
        approval=None,
        memory=settle_memory(rollout, s.canary),
    )
    return s.move(
        reason,
        message,
        phase=Phase.CANARY,
        plan=safe_plan(s.service, rollout.challenger, weight),
        pace=Pace.MOVING,
        rollout=moved,
        weight=Weight(wanted=weight, observed=s.observed),
    ).noting(reason, message)


def _promote(s: Situation) -> Move:
    rollout, seen = s.going, s.judgement
    requests = seen.requests if seen else rollout.step_base_requests
    bakes = parse_duration(s.canary.bake).total_seconds() > 0
    warm = f"the champion keeps 1 % and stays warm for {s.canary.bake}" if bakes else "without a bake"
    message = (
        f"challenger {short(rollout.challenger)} is promoted after {requests} requests{_grounds(s)}, replacing "
        f"{short(s.champion)}; {warm}"
    )
    moved = rollout.but(
        promoted_at=s.now,
        step_started_at=None,
        step_base_requests=requests,
        frozen_since=None,
        approval=None,
        memory=start_bake_memory(rollout, s.canary),
    )
    weight = BAKE_WEIGHT if bakes else None
    return s.move(
        Reason.PROMOTED,
        message,
        phase=Phase.BAKING if bakes else Phase.PROMOTING,
        plan=safe_plan(s.service, rollout.challenger, weight),
        pace=Pace.MOVING,
        rollout=moved,
        weight=Weight(wanted=weight or 100, observed=s.observed),
    ).noting(Reason.PROMOTED, message)


def finish_promoting(s: Situation) -> Move | None:
    """The challenger is champion once KServe has rolled it out: then nothing is left to take back."""
    if s.phase is not Phase.PROMOTING or s.rollout is None:
        return None
    challenger = s.rollout.challenger
    if not s.has_all_traffic(challenger):
        return s.move(
            Reason.PROMOTING,
            f"KServe shows {s.observed} % for the challenger, 100 % is wanted",
            plan=safe_plan(s.service, challenger, None),
            pace=Pace.MOVING,
            next="is the champion once KServe shows 100 %",
        )
    message = f"{short(challenger)} is the champion, in place of {short(s.champion)}"
    return s.move(
        Reason.NEW_CHAMPION,
        message,
        phase=Phase.STABLE,
        plan=Plan(challenger, None),
        pace=Pace.MOVING,
        rollout=s.ended(Outcome.PROMOTED),
        champion=champion_ref(s.service, challenger, s.now),
        challenger=None,
        weight=Weight(),
        history=s.history_with(challenger, Outcome.PROMOTED, message, s.champion),
    ).noting(Reason.NEW_CHAMPION, message)


def _after(s: Situation) -> str:
    following = s.going.step + 1 if s.phase is Phase.CANARY else 0
    if following < len(s.canary.steps):
        return f"{s.canary.steps[following].weight} %"
    return "promotion"


def metrics_found(s: Situation) -> str:
    """What the condition MetricsAvailable says when nothing is missing."""
    names = ", ".join(s.facts.readings)
    notes = [r.note for r in s.facts.readings.values() if isinstance(r, Reading) and r.note]
    return f"every metric has data for the champion: {names}" + (f" ({'; '.join(notes)})" if notes else "")


def stay(
    s: Situation, reason: Reason, message: str, next: str, pace: Pace = Pace.JUDGING, *, held: bool = False
) -> Move:
    """The rollout keeps its weight; `held` where somebody should know."""
    flags = {ConditionType.PROGRESSING: Flag("False", reason, message)} if held else {}
    starting = s.phase is Phase.STARTING
    if starting:  # the check before traffic is passed: an outage that held it is over
        flags[ConditionType.METRICS_AVAILABLE] = Flag("True", Reason.METRICS_FOUND, metrics_found(s))
    return s.move(
        reason,
        message,
        plan=safe_plan(s.service, s.going.challenger, s.wanted),
        pace=pace,
        next=next,
        announce=held or reason in {Reason.HELD_LOW_EVIDENCE, Reason.INCONCLUSIVE},
        flags=flags,
        verdict=Verdict.HOLD if starting else s.status.verdict,
        weight=Weight(wanted=s.wanted, observed=s.observed),
    )
