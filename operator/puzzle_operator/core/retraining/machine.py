"""Retraining as a machine beside the one of rollouts: one step a pass, pure, from what is stored and what is seen.

A run is stored first and made a Job of in the next pass. So whenever the operator is killed, the name of the Job is
known before there is one: creating it twice finds the first. The counter in the status only rises, whatever the
clock does. Times that lie in the future, because a clock went back, are taken for now: waiting begins anew then, and
nothing begins early.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from puzzle_operator.api.conditions import Reason
from puzzle_operator.api.retraining import Ask, Request, RetrainingPhase, RetrainingStatus
from puzzle_operator.api.status import PuzzleModelStatus
from puzzle_operator.core.names import short
from puzzle_operator.core.situation import Flag, Note, Pace, Situation

from .blocks import COOLDOWN, Block, block, cooldown, cooldown_until, starts_within, waiting_version
from .facts import JobState, Observed, TrainingRun
from .names import run_name
from .running import follow
from .steps import Step
from .triggers import Fired, Looked, look, next_slot

KEPT_JOBS = 3
HELD = "Held"
_LONGEST_REQUEST = 200


def retrain(s: Situation, after: PuzzleModelStatus, seen: Observed | None) -> Step:
    """What retraining does now. `after` is the status as the rollout leaves it in this pass."""
    stored = s.facts.model.status.retraining
    spec = s.facts.model.spec.retraining
    if stored is None and not spec.enabled and s.facts.model.retrain is None:
        return Step(None, Flag("False", Reason.RETRAINING_DISABLED, "spec.retraining.enabled is false"))
    state, notes = _hear(s, _consistent(s, stored or RetrainingStatus()))
    if state.is_running:
        step = follow(s, state)
    elif not spec.enabled:
        step = _disabled(state)
    else:
        step = _consider(s, after, state, seen)
    return replace(step, notes=(*notes, *step.notes), remove=(*step.remove, *_outdated(s, step.status)))


def _consistent(s: Situation, state: RetrainingStatus) -> RetrainingStatus:
    """What is stored, put right by what is seen: Jobs that a lost status does not know, a clock that went back."""
    jobs = s.facts.jobs if isinstance(s.facts.jobs, tuple) else ()
    counter = max([state.counter, *(job.counter for job in jobs)])
    state = state.but(counter=counter)
    alive = [job for job in jobs if not job.deleting]
    newest = max(alive, key=lambda job: (job.state is JobState.ACTIVE, job.counter, job.created), default=None)
    if newest is not None and not state.is_running and (state.run is None or newest.state is JobState.ACTIVE):
        state = _adopted(state, newest, tuple(sorted(job.created for job in jobs)))
    if not state.is_running and state.run is not None and state.finished_at is None:
        state = state.but(finished_at=state.started_at or s.now)
    return _not_in_the_future(s, state)


def _adopted(state: RetrainingStatus, job: TrainingRun, starts: tuple[datetime, ...]) -> RetrainingStatus:
    """A Job of ours that the status does not know: the status was lost or edited."""
    return state.but(
        run=job.run,
        cpu=job.name != job.run,
        job_uid=job.uid,
        trigger=job.trigger or "it was found running",
        kind=None,
        started_at=job.created,
        finished_at=None,
        outcome=None,
        version=None,
        starts=state.starts or starts,
    )


def _not_in_the_future(s: Situation, state: RetrainingStatus) -> RetrainingStatus:
    early = {
        name: s.now
        for name in ("started_at", "finished_at", "schedule_from")
        if (at := getattr(state, name)) is not None and at > s.now
    }
    if early:
        state = state.but(**early)
    if any(start > s.now for start in state.starts):
        state = state.but(starts=tuple(min(start, s.now) for start in state.starts))
    if any(signal.since > s.now for signal in state.signals):
        state = state.but(signals=tuple(x.but(since=min(x.since, s.now)) for x in state.signals))
    return state


def _hear(s: Situation, state: RetrainingStatus) -> tuple[RetrainingStatus, tuple[Note, ...]]:
    """The annotation: heard once, kept until its run begins. One that could not be taken away is not heard again."""
    wanted = s.facts.model.retrain
    if wanted is None or wanted == state.heard:
        return (state if wanted is not None or state.heard is None else state.but(heard=None)), ()
    text = " ".join(wanted.split())[:_LONGEST_REQUEST] or "no reason given"
    state = state.but(heard=wanted)
    if not s.facts.model.spec.retraining.enabled:
        note = Note(
            Reason.RETRAIN_DEFERRED, f"asked to retrain ({text}), and spec.retraining.enabled is false: ignored"
        )
        return state, (note,)
    if state.is_running:
        note = Note(Reason.RETRAIN_DEFERRED, f"asked to retrain ({text}) while {state.run} is running: ignored")
        return state, (note,)
    return state.but(requested=Request(text=text, at=s.now)), ()


def _disabled(state: RetrainingStatus) -> Step:
    state = state.but(
        phase=RetrainingPhase.IDLE, requested=None, asks=None, blocked=None, blocked_by=None, signals=(), next=None
    )
    return Step(state, Flag("False", Reason.RETRAINING_DISABLED, "spec.retraining.enabled is false"))


def _consider(s: Situation, after: PuzzleModelStatus, state: RetrainingStatus, seen: Observed | None) -> Step:
    """No run is going on: does anything ask for one, and is anything in its way?"""
    spec = s.facts.model.spec.retraining
    state = state.but(starts=starts_within(spec, state.starts, s.now))
    if spec.schedule is not None and state.schedule_from is None:
        state = state.but(schedule_from=s.now)
    if spec.schedule is None:
        state = state.but(schedule_from=None, slot=None)
    looked = look(spec, state, seen, s.now)
    state = state.but(signals=looked.signals)
    first: tuple[Fired, Block] | None = None
    for fired in looked.fired:
        found = block(s, after, state, fired)
        if found is None:
            return _begin(s, state, seen, looked, fired)
        first = first or (fired, found)
    if first is not None:
        return _defer(s, state, looked, *first)
    return _rest(s, state, looked)


def _begin(s: Situation, state: RetrainingStatus, seen: Observed | None, looked: Looked, fired: Fired) -> Step:
    """Store the run. Its Job is made in the next pass, when the name is safe."""
    model, counter = s.facts.model, state.counter + 1
    run = run_name(model.name, model.uid, model.generation, fired.kind, counter, s.now)
    text = "; ".join(dict.fromkeys(other.text for other in (fired, *looked.fired)))
    state = _served(s, state).but(
        phase=RetrainingPhase.RUNNING,
        counter=counter,
        run=run,
        trigger=text,
        kind=fired.kind,
        champion=s.champion,
        started_at=s.now,
        job_uid=None,
        cpu=False,
        pod=None,
        pending=None,
        finished_at=None,
        outcome=None,
        version=None,
        message=None,
        blocked=None,
        blocked_by=None,
        asks=None,
        next=None,
        requested=None,
        signals=(),
        starts=starts_within(model.spec.retraining, (*state.starts, s.now), s.now),
        labels_at_start=seen.pictures if seen is not None else None,
        bytes_at_start=seen.picture_bytes if seen is not None else None,
    )
    message = f"run {run} is to beat champion {short(s.champion)}: {text}"
    flag = Flag("True", Reason.RETRAIN_TRIGGERED, message)
    return Step(state, flag, (Note(Reason.RETRAIN_TRIGGERED, message),), pace=Pace.MOVING)


def _served(s: Situation, state: RetrainingStatus) -> RetrainingStatus:
    """The schedule's times up to now are served by the run that begins."""
    spec = s.facts.model.spec.retraining
    if spec.schedule is None or state.schedule_from is None:
        return state
    following, _ = next_slot(spec, state.schedule_from, state.slot)
    slot = following if following is not None and following <= s.now else state.slot
    return state.but(schedule_from=s.now, slot=slot)


def _defer(s: Situation, state: RetrainingStatus, looked: Looked, fired: Fired, why: Block) -> Step:
    """Something asks for a run and has to wait. Told once for each reason to wait."""
    known = state.asks
    text = known.text if known is not None and known.kind == fired.kind else fired.text
    message = f"{text}; it waits: {why.message}"
    told = known is not None and known.kind == fired.kind and state.blocked_by == why.code
    notes = () if told else (Note(Reason.RETRAIN_DEFERRED, message),)
    phase = RetrainingPhase.COOLDOWN if why.code == COOLDOWN else RetrainingPhase.WAITING
    state = state.but(
        phase=phase,
        asks=Ask(kind=fired.kind, text=text),
        blocked=why.message,
        blocked_by=why.code,
        next=_next(s, state, looked),
    )
    reason = Reason.COOLDOWN if why.code == COOLDOWN else Reason.RETRAIN_DEFERRED
    return Step(state, Flag("False", reason, message), notes)


def _rest(s: Situation, state: RetrainingStatus, looked: Looked) -> Step:
    """Nothing asks for a run."""
    cooling, waits = cooldown(s, state), waiting_version(s, state)
    held = looked.held or looked.invalid
    if waits is not None:
        reason = Reason.VERSION_WAITS
        message = (
            f"version {short(waits)} was accepted and waits: spec.model.version pins {short(s.target)}; "
            f"name {waits}, or auto, to have it rolled out"
        )
    elif cooling is not None:
        reason, message = Reason.COOLDOWN, f"{cooling.message}; the last run, {state.outcome}: {state.message}"
    else:
        reason, message = Reason.RETRAIN_IDLE, "nothing asks for a run"
    if held:
        message = f"{message}; {held}"
    notes = (Note(Reason.RETRAIN_DEFERRED, held),) if held and state.blocked_by != HELD else ()
    state = state.but(
        phase=RetrainingPhase.COOLDOWN if cooling is not None else RetrainingPhase.IDLE,
        asks=None,
        blocked=held or None,
        blocked_by=HELD if held else None,
        next=_next(s, state, looked),
    )
    return Step(state, Flag("False", reason, message), notes)


def _next(s: Situation, state: RetrainingStatus, looked: Looked) -> str | None:
    """What may begin the next run, by the clock."""
    spec, found = s.facts.model.spec.retraining, []
    until = cooldown_until(s, state)
    if until is not None and s.now < until:
        found.append(f"the cooldown ends at {until:%Y-%m-%d %H:%M} UTC")
    following, _ = next_slot(spec, state.schedule_from or s.now, state.slot)
    if following is not None and not looked.invalid:
        found.append(f"the schedule is due at {following:%Y-%m-%d %H:%M} UTC")
    return "; ".join(found) or None


def _outdated(s: Situation, state: RetrainingStatus | None) -> tuple[str, ...]:
    """Ended Jobs beyond the last few; their pods, and with them their logs, go too."""
    if not isinstance(s.facts.jobs, tuple) or state is None:
        return ()
    ended = [job for job in s.facts.jobs if job.state is not JobState.ACTIVE and job.run != state.run]
    ended.sort(key=lambda job: (job.counter, job.created), reverse=True)
    return tuple(job.name for job in ended[KEPT_JOBS - 1 :])
