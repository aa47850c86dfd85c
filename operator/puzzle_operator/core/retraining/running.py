"""A run that was begun: its Job is made, watched, and its end booked."""

from __future__ import annotations

from datetime import timedelta

from puzzle_common.durations import parse_duration
from puzzle_operator.api.conditions import Reason
from puzzle_operator.api.retraining import RetrainingPhase, RetrainingStatus, RunOutcome
from puzzle_operator.core.facts import Missing, VersionCheck
from puzzle_operator.core.names import short
from puzzle_operator.core.situation import Flag, Note, Pace, Situation

from .facts import Decisions, JobState, TrainerPod, TrainingRun
from .names import job_of
from .results import Result, last_words, of_job, of_record
from .steps import Step

GPU = "nvidia.com/gpu"
_NO_GPU = (GPU, "node affinity/selector")
"""What the scheduler says where there is no GPU, or no node of the pool that has them."""
FALLBACK_AFTER = timedelta(seconds=60)
"""How long no node may have offered a GPU before a run with cpuFallback goes on without."""


def follow(s: Situation, state: RetrainingStatus) -> Step:
    """One look at the run that is going on."""
    state = state.but(
        phase=RetrainingPhase.RUNNING, requested=None, asks=None, blocked=None, blocked_by=None, next=None
    )
    jobs = s.facts.jobs
    if not isinstance(jobs, tuple):
        why = jobs.reason if isinstance(jobs, Missing) else "they were not read"
        return _going(state, f"the Jobs cannot be seen: {why}")
    name = job_of(state)
    others = tuple(job.name for job in jobs if job.run == state.run and job.name != name)
    if others:
        return _going(state, "the Job with GPUs makes room for one without", remove=others, pace=Pace.MOVING)
    job = next((job for job in jobs if job.name == name), None)
    if job is None:
        return _absent(s, state)
    notes: tuple[Note, ...] = ()
    if state.job_uid is None:
        message = f"run {state.run} has its Job {job.name}: {state.trigger}"
        notes = (Note(Reason.RETRAIN_STARTED, message),)
    state = state.but(job_uid=job.uid)
    step = _watch(s, state, job) if job.state is JobState.ACTIVE else _ended(s, state, job)
    return Step(step.status, step.flag, (*notes, *step.notes), step.ensure, step.remove, step.pace)


def _absent(s: Situation, state: RetrainingStatus) -> Step:
    """The run has no Job: it is not made yet, or somebody took it away."""
    if state.job_uid is not None:
        return _finish(s, state, Result(RunOutcome.FAILED, "its Job was deleted before it ended"))
    if _is_late(s, state):
        why = f": {state.message}" if state.message else ""
        return _finish(s, state, Result(RunOutcome.FAILED, f"its Job could not be made before the deadline{why}"))
    jobs = s.facts.jobs if isinstance(s.facts.jobs, tuple) else ()
    busy = next((job.name for job in jobs if job.state is JobState.ACTIVE), None)
    if busy is not None:
        return _going(state, f"Job {busy} of another run has not ended")
    if not s.facts.can_train:
        return _going(state, "the operator has no image for trainers (PUZZLE_TRAINER_IMAGE)")
    stored = s.facts.model.status.retraining
    known = stored is not None and stored.run == state.run and stored.cpu == state.cpu
    return _going(state, None, ensure=state if known else None, pace=Pace.MOVING)


def _is_late(s: Situation, state: RetrainingStatus) -> bool:
    deadline = parse_duration(s.facts.model.spec.retraining.job.deadline)
    return state.started_at is not None and s.now - state.started_at > deadline


def _watch(s: Situation, state: RetrainingStatus, job: TrainingRun) -> Step:
    first = next(iter(job.deciding), None)
    if first is None:
        return _going(state.but(pod=None, pending=None), "the Job has no pod yet")
    held = next((pod for pod in job.current if pod.pending), first)
    pending, lacks_gpu = _pending(s, held)
    # While the first worker has its GPU, the run goes on with those of the others that have theirs.
    may_fall_back = s.facts.model.spec.retraining.job.cpu_fallback and not state.cpu and held is first
    if lacks_gpu and may_fall_back and s.now - first.created >= FALLBACK_AFTER:
        message = f"{pending}; the run goes on without a GPU (spec.retraining.job.cpuFallback)"
        state = state.but(cpu=True, job_uid=None, pod=None, pending=None)
        step = _going(state, message, remove=(job.name,), pace=Pace.MOVING)
        return Step(step.status, step.flag, (Note(Reason.RETRAIN_PENDING, message),), None, step.remove, step.pace)
    notes: tuple[Note, ...] = ()
    if pending is not None and state.pending is None:
        notes = (Note(Reason.RETRAIN_PENDING, f"run {state.run} waits: {pending}"),)
    message = "; ".join(filter(None, (s.facts.progress if held is not first or not pending else "", pending)))
    step = _going(state.but(pod=first.phase, pending=pending), message or None)
    return Step(step.status, step.flag, notes, pace=step.pace)


def _pending(s: Situation, pod: TrainerPod) -> tuple[str | None, bool]:
    """Why a pod does not start, and whether it is for want of a GPU."""
    job = s.facts.model.spec.retraining.job
    lacks_gpu = pod.unschedulable and job.gpus > 0 and any(sign in pod.pending for sign in _NO_GPU)
    said = f"no node offers {GPU} now: {pod.pending}" if lacks_gpu and GPU in pod.pending else pod.pending
    if said and pod.worker > 0:
        said = f"worker {pod.worker} of {job.workers} waits: {said}"
    return said or None, lacks_gpu


def _going(
    state: RetrainingStatus,
    message: str | None,
    *,
    ensure: RetrainingStatus | None = None,
    remove: tuple[str, ...] = (),
    pace: Pace = Pace.BLOCKED,
) -> Step:
    state = state.but(message=message)
    reason = Reason.RETRAIN_PENDING if state.pending else Reason.RETRAIN_STARTED
    said = f"run {state.run}: {message or state.trigger}"
    return Step(state, Flag("True", reason, said), ensure=ensure, remove=remove, pace=pace)


def _ended(s: Situation, state: RetrainingStatus, job: TrainingRun) -> Step:
    """The Job has ended. What the pod said counts, then what the registry has on record, then how the Job ended."""
    found = last_words(job)
    decided = found is not None and found.outcome is not RunOutcome.FAILED
    if not decided:
        decisions = s.facts.decisions
        if isinstance(decisions, VersionCheck) and job.state is JobState.SUCCEEDED and not _is_late(s, state):
            return _going(state, f"its Job has ended; what it came to is not known yet: {decisions.message}")
        record = decisions.of_run(state.run or "") if isinstance(decisions, Decisions) else None
        if record is not None:
            found = of_record(record)
    pod = job.deciding[0].phase if job.deciding else None
    return _finish(s, state.but(pod=pod), found or of_job(job))


def _finish(s: Situation, state: RetrainingStatus, result: Result) -> Step:
    """Book the end. Pictures count as used when the run came to a decision about them."""
    decided = result.outcome is not RunOutcome.FAILED
    state = state.but(
        phase=RetrainingPhase.COOLDOWN,
        finished_at=s.now,
        outcome=result.outcome,
        version=result.version,
        message=result.message,
        pending=None,
        schedule_from=s.now if state.schedule_from is not None else None,
        labels_used=state.labels_at_start if decided and state.labels_at_start is not None else state.labels_used,
        bytes_used=state.bytes_at_start if decided and state.bytes_at_start is not None else state.bytes_used,
    )
    notes = _told(s, state, result)
    return Step(state, Flag("False", notes[-1].reason, notes[-1].message), notes, pace=Pace.MOVING)


def _told(s: Situation, state: RetrainingStatus, result: Result) -> tuple[Note, ...]:
    said = f"run {state.run}: {result.message}"
    if result.outcome is RunOutcome.FAILED:
        return (Note(Reason.RETRAIN_FAILED, f"{said}; the champion stays"),)
    if result.outcome is not RunOutcome.ACCEPTED:
        return (Note(Reason.RETRAIN_REFUSED, f"{said} ({result.outcome}); the champion stays"),)
    version = result.version or ""
    if s.facts.model.spec.model.is_auto:
        then = "spec.model.version is auto: it is rolled out"
    else:
        then = f"spec.model.version pins {short(s.target)}: name {version}, or auto, to have it rolled out"
    return (
        Note(Reason.RETRAIN_SUCCEEDED, said),
        Note(Reason.CHALLENGER_ACCEPTED, f"version {short(version)} passed the gate; {then}"),
    )
