"""What a pass says when the API server does not take the Job of a replay."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from puzzle_operator.api.conditions import Reason
from puzzle_operator.core.record import Decision
from puzzle_operator.core.situation import Note

from .machine import skipped


def job_refused(decision: Decision, why: str, now: datetime) -> Decision:
    """The rollout is not concerned: it goes on without the replay, and says so once."""
    rollout = decision.status.rollout
    if rollout is None or rollout.replay is None:
        return decision
    ended = skipped(rollout.replay, f"its Job cannot be made: {why}", now).but(job=None)
    status = decision.status.but(rollout=rollout.but(replay=ended))
    return replace(decision, status=status, notes=(*decision.notes, Note(Reason.REPLAY_SKIPPED, ended.message)))
