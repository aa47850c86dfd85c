"""What is written together, and what came of each part.

Requests that wait at the same time share one transaction (group commit), and each gets its own answer out of the common
one: work is merged item by item, and outcomes are cut apart in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from puzzle_monitor.core.records import Feedback, Record


class Outcome(StrEnum):
    """What became of one item."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """It was there already; nothing changed."""
    CONFLICT = "conflict"
    """Its id belongs to something else; the first one stays."""
    EXPIRED = "expired"
    """Older than the retention: it would be deleted at once."""
    WAITING = "waiting"
    """Feedback that is kept until its prediction arrives."""
    MISSING = "missing"
    """There is no such prediction."""


@dataclass(frozen=True, slots=True)
class ImageMark:
    """The picture of a prediction lies in the image store under the prediction's id."""

    prediction_id: str
    digest: str
    size: int = 0
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Work:
    """Things to store in one transaction."""

    records: tuple[Record, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    images: tuple[ImageMark, ...] = ()

    @property
    def size(self) -> int:
        """How many things there are."""
        return len(self.records) + len(self.feedback) + len(self.images)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One for each item, in order. `strange`: id and label of feedback whose model has no such class."""

    records: tuple[Outcome, ...] = ()
    feedback: tuple[Outcome, ...] = ()
    images: tuple[Outcome, ...] = ()
    strange: frozenset[tuple[str, str]] = frozenset()


def merge(works: Iterable[Work]) -> Work:
    """All the work as one."""
    parts = tuple(works)
    return Work(
        tuple(item for work in parts for item in work.records),
        tuple(item for work in parts for item in work.feedback),
        tuple(item for work in parts for item in work.images),
    )


def split(outcomes: Outcomes, works: Sequence[Work]) -> list[Outcomes]:
    """The outcomes of merged work, for each part of it."""
    answers, r, f, i = [], 0, 0, 0
    for work in works:
        end_r, end_f, end_i = r + len(work.records), f + len(work.feedback), i + len(work.images)
        strange = outcomes.strange & {(item.prediction_id, item.label) for item in work.feedback}
        answers.append(
            Outcomes(outcomes.records[r:end_r], outcomes.feedback[f:end_f], outcomes.images[i:end_i], strange)
        )
        r, f, i = end_r, end_f, end_i
    return answers
