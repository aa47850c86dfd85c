"""A replay from its beginning to its verdict, one look a pass, pure, from what is stored and what is seen.

As a run of retraining (ADR 0016) it is stored first and made a Job of in the next pass. Whatever keeps it from coming
to a result, other than the challenger itself, ends it as Skipped: live traffic judges all the same, and nothing waits
for longer than the deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from puzzle_common.durations import parse_duration
from puzzle_operator.api.conditions import Phase, Reason
from puzzle_operator.api.replay import ReplayOutcome, ReplayStatus
from puzzle_operator.api.status import PuzzleModelStatus, Rollout
from puzzle_operator.core.facts import Facts, Missing, MissingKind, Service
from puzzle_operator.core.retraining.facts import JobState
from puzzle_operator.core.traffic import rolled_out_version

from .facts import ReplayJob, Showing
from .names import replay_name
from .verdict import judged, read_words


def is_set_up(facts: Facts) -> bool:
    """Whether the spec wants replays, and the operator has what they take: a monitor, and an image for the Job."""
    absent = isinstance(facts.monitor, Missing) and facts.monitor.kind is MissingKind.ABSENT
    return facts.model.spec.canary.replay.pieces > 0 and facts.can_train and not absent


def nothing_to_show(facts: Facts) -> str:
    """Why a replay need not even begin; empty when it is worth a try."""
    if isinstance(facts.monitor, Missing):
        return f"the monitor cannot be asked for labelled pieces: {facts.monitor.reason}"
    if not facts.monitor.labels.images:
        return "the monitor has no labelled piece with a picture"
    return ""


def begun(facts: Facts, rollout: Rollout) -> ReplayStatus:
    """A replay that is stored, and has no Job yet."""
    most = facts.model.spec.canary.replay.pieces
    message = f"the challenger is shown up to {most} labelled pieces before it gets traffic"
    return ReplayStatus(job=replay_name(facts.model, rollout), started_at=facts.now, message=message)


def skipped(replay: ReplayStatus, why: str, now: datetime) -> ReplayStatus:
    """The rollout goes on without it."""
    return replay.but(
        outcome=ReplayOutcome.SKIPPED, finished_at=now, message=f"replay skipped: {why}; live traffic judges alone"
    )


def look(facts: Facts, rollout: Rollout) -> Rollout:
    """The rollout with everything booked that was seen of its replay."""
    replay = rollout.replay
    if replay is None or not replay.is_going_on:
        return rollout
    return rollout.but(replay=_seen(facts, replay))


def _seen(facts: Facts, replay: ReplayStatus) -> ReplayStatus:
    if not facts.model.spec.canary.replay.pieces:
        return skipped(replay, "spec.canary.replay.pieces is 0", facts.now)
    job, deadline = facts.replay, facts.model.spec.canary.replay.deadline
    late = facts.now - (replay.started_at or facts.now) > parse_duration(deadline)
    if isinstance(job, ReplayJob) and not job.deleting and job.state is not JobState.ACTIVE:
        return _ended(facts, replay.but(job_uid=job.uid), job)
    if isinstance(job, ReplayJob) and not job.deleting:
        why = f": {job.pending}" if job.pending else ""
        replay = replay.but(job_uid=job.uid)
        return skipped(replay, f"it did not end within {deadline}{why}", facts.now) if late else replay
    if job is not None and isinstance(job, Missing):
        return skipped(replay, f"its Job cannot be read: {job.reason}", facts.now) if late else replay
    if replay.job_uid is not None or isinstance(job, ReplayJob):
        return skipped(replay, "its Job was deleted before it ended", facts.now)
    return skipped(replay, f"its Job could not be made within {deadline}", facts.now) if late else replay


def _ended(facts: Facts, replay: ReplayStatus, job: ReplayJob) -> ReplayStatus:
    said = read_words(job.last_words)
    if said is None:
        words = job.last_words.strip()[-200:] or job.reason or "it left no message"
        return skipped(replay, f"its Job came to no result: {words}", facts.now)
    if said.pairs is None:
        return skipped(replay, said.message, facts.now)
    return judged(replay.but(finished_at=facts.now), said, said.pairs, facts.model.spec.canary)


@dataclass(frozen=True, slots=True)
class Work:
    """What a pass has to do about Jobs: the one that has to exist, and those to delete."""

    ensure: Showing | None = None
    remove: tuple[str, ...] = ()


def work(facts: Facts, after: PuzzleModelStatus) -> tuple[PuzzleModelStatus, Work]:
    """The status to be stored, and what to do before it is.

    Only what is stored already is made a Job of, and a Job is only deleted once its result is stored.
    """
    before = facts.model.status
    stored = before.rollout.replay if before.rollout is not None else None
    if before.rollout is None or stored is None or stored.job is None:
        return after, Work()
    starting = before.phase is Phase.STARTING and before.rollout.is_active
    if not starting or not stored.is_going_on:
        return _without_job(before.rollout, after), Work(remove=(stored.job,))
    now = after.active.replay if after.active is not None else None
    due = now is not None and now.is_going_on and now.job == stored.job and now.job_uid is None
    if due and after.phase is Phase.STARTING and facts.replay is None:
        return after, Work(ensure=_showing(facts, stored.job, before))
    return after, Work()


def _showing(facts: Facts, job: str, status: PuzzleModelStatus) -> Showing | None:
    """None while it cannot be said which revisions are meant."""
    champion, rollout, service = status.champion, status.active, facts.service
    if champion is None or rollout is None or not isinstance(service, Service) or rollout.revision is None:
        return None
    if rolled_out_version(service) != champion.version:
        return None
    return Showing(
        job,
        champion=service.latest_rolled_out,
        champion_version=champion.version,
        challenger=rollout.revision,
        challenger_version=rollout.challenger,
        since=champion.since,
    )


def _without_job(rollout: Rollout, after: PuzzleModelStatus) -> PuzzleModelStatus:
    now = after.rollout
    if now is None or now.replay is None or now.started_at != rollout.started_at:
        return after
    return after.but(rollout=now.but(replay=now.replay.but(job=None)))


_TOLD = {
    ReplayOutcome.PASSED: Reason.REPLAY_PASSED,
    ReplayOutcome.FAILED: Reason.REPLAY_FAILED,
    ReplayOutcome.SKIPPED: Reason.REPLAY_SKIPPED,
}


def told(before: PuzzleModelStatus, after: PuzzleModelStatus) -> tuple[Reason, str] | None:
    """The event of a replay that has just ended; once, whichever rule decided in that pass."""
    now = after.rollout.replay if after.rollout is not None else None
    if after.rollout is None or now is None or now.outcome is None:
        return None
    same = before.rollout is not None and before.rollout.started_at == after.rollout.started_at
    then = before.rollout.replay if before.rollout is not None and same else None
    if then is not None and then.outcome is not None:
        return None
    return _TOLD[now.outcome], now.message
