"""Names of runs and of their Jobs. They follow from what is stored, so a repeated pass finds what the last one made."""

from __future__ import annotations

import hashlib

from puzzle_operator.api.retraining import RetrainingStatus

_LONGEST_MODEL = 36


def run_name(model: str, uid: str, generation: int, kind: str, counter: int) -> str:
    """Name of a run. The hash keeps apart runs of a model that was deleted and made again, and of models of one name
    in two namespaces: checkpoints lie under the run's name in one bucket."""
    text = f"{uid}/{generation}/{kind}/{counter}"
    mark = hashlib.sha256(text.encode()).hexdigest()[:4]
    return f"{model[:_LONGEST_MODEL].rstrip('-')}-{kind}-{counter}-{mark}"


def job_name(run: str, *, cpu: bool) -> str:
    """Name of a run's Job. A Job's template cannot be changed, so the one without GPUs has a name of its own."""
    return f"{run}-cpu" if cpu else run


def job_of(state: RetrainingStatus) -> str:
    """Name of the Job of the present run."""
    return job_name(state.run or "", cpu=state.cpu)
