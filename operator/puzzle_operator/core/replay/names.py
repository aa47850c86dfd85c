"""The name of a replay's Job. It follows from the rollout, so a pass that is made again finds the Job of the first."""

from __future__ import annotations

import hashlib

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import Rollout

_LONGEST_MODEL = 36


def replay_name(model: PuzzleModel, rollout: Rollout) -> str:
    """One name for each rollout; a version that is tried again is shown the pieces again."""
    text = f"{model.uid}/{rollout.challenger}/{rollout.started_at.isoformat(timespec='milliseconds')}"
    return f"{model.name[:_LONGEST_MODEL].rstrip('-')}-replay-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
