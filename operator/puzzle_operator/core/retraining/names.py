"""Names of runs and of their Jobs. They follow from what is stored, so a repeated pass finds what the last one made."""

from __future__ import annotations

import hashlib
from datetime import datetime

from puzzle_operator.api.retraining import RetrainingStatus

_LONGEST_MODEL = 36


def run_name(model: str, uid: str, generation: int, kind: str, counter: int, at: datetime) -> str:
    """Name of a run, which is stored before anything bears it. The hash keeps apart runs of a model that was made
    again, of models of one name in two namespaces, and of a status that was lost with its Jobs: checkpoints lie under
    the run's name in one bucket."""
    text = f"{uid}/{generation}/{kind}/{counter}/{at.isoformat(timespec='milliseconds')}"
    mark = hashlib.sha256(text.encode()).hexdigest()[:4]
    return f"{model[:_LONGEST_MODEL].rstrip('-')}-{kind}-{counter}-{mark}"


def job_name(run: str, *, cpu: bool) -> str:
    """Name of a run's Job. A Job's template cannot be changed, so the one without GPUs has a name of its own."""
    return f"{run}-cpu" if cpu else run


def job_of(state: RetrainingStatus) -> str:
    """Name of the Job of the present run."""
    return job_name(state.run or "", cpu=state.cpu)
