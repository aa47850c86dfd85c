"""What one step of retraining comes to."""

from __future__ import annotations

from dataclasses import dataclass

from puzzle_operator.api.retraining import RetrainingStatus
from puzzle_operator.core.situation import Flag, Note, Pace


@dataclass(frozen=True, slots=True)
class Step:
    """A state to store, a condition, and what to do with Jobs.

    Attributes:
        status: None leaves the status without a word on retraining.
        ensure: the run whose Job has to exist; what is stored names it already.
        remove: names of Jobs to delete.
    """

    status: RetrainingStatus | None
    flag: Flag
    notes: tuple[Note, ...] = ()
    ensure: RetrainingStatus | None = None
    remove: tuple[str, ...] = ()
    pace: Pace = Pace.RESTING
