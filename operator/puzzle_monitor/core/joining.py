"""How labels meet predictions: any order, any delay, any number of them.

Two truths are kept of a prediction:

* the *latest*: the label whose `at` is newest (of equals, the one that arrived last), of those that were not taken
  back. It is what accuracy, the confusion gauge and the export go by.
* the *first*: the label that arrived first. Counters go by it, because a counter that a correction takes back is no
  counter: Prometheus would read the fall as a restart and count everything again. For the same reason it stays when
  it is retracted.

Both depend only on the labels and the order of *their* arrival, not on when the prediction came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """One label that somebody gave. `seq` is the order of arrival."""

    seq: int
    label: str
    who: str
    at: int
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """What is held to be true of a prediction after some labels."""

    first: str | None = None
    latest: Mark | None = None

    @property
    def label(self) -> str | None:
        """The label that counts now."""
        return self.latest.label if self.latest else None


def truth(marks: Iterable[Mark]) -> Truth:
    """What the labels come to."""
    ordered = sorted(marks, key=lambda mark: mark.seq)
    if not ordered:
        return Truth()
    valid = [mark for mark in ordered if not mark.retracted]
    return Truth(ordered[0].label, max(valid, key=lambda mark: (mark.at, mark.seq), default=None))


@dataclass(frozen=True, slots=True)
class Move:
    """A change of one cell of a series' confusion matrix. `first` never falls."""

    truth: str
    first: int
    latest: int


def moves(before: Truth, after: Truth) -> Sequence[Move]:
    """What more labels for one prediction change in the row of its predicted class."""
    changes: dict[str, list[int]] = {}
    if before.first is None and after.first is not None:
        changes.setdefault(after.first, [0, 0])[0] += 1
    if before.label != after.label:
        if before.label is not None:
            changes.setdefault(before.label, [0, 0])[1] -= 1
        if after.label is not None:
            changes.setdefault(after.label, [0, 0])[1] += 1
    return tuple(Move(label, first, latest) for label, (first, latest) in sorted(changes.items()))
