"""How often a model was right, from a confusion matrix. Shares are None where there is nothing to divide by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

BOUNDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Upper bounds of the confidence histogram; the last bucket reaches to 1."""


@dataclass(frozen=True, slots=True)
class Cell:
    """So many pieces were predicted `label` and are `truth`."""

    label: str
    truth: str
    count: int


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: how many there truly were, how many of these were found, how many of its predictions were right."""

    label: str
    labelled: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """The whole matrix in numbers."""

    labelled: int
    wrong: int
    accuracy: float | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[Cell, ...]


def score(cells: Iterable[Cell]) -> Score:
    """Add equal cells up and derive the shares."""
    counts: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        counts[cell.label, cell.truth] += cell.count
    labelled, right = counts.total(), sum(n for (label, truth), n in counts.items() if label == truth)
    predicted: Counter[str] = Counter()
    true: Counter[str] = Counter()
    for (label, truth), n in counts.items():
        predicted[label] += n
        true[truth] += n
    classes = tuple(
        ClassScore(
            name, true[name], _share(counts[name, name], true[name]), _share(counts[name, name], predicted[name])
        )
        for name in sorted(predicted.keys() | true.keys())
    )
    confusion = tuple(Cell(label, truth, n) for (label, truth), n in sorted(counts.items()) if n)
    return Score(labelled, labelled - right, _share(right, labelled), classes, confusion)


def bucket(confidence: float) -> int:
    """Which bucket of the histogram: the first whose bound is not below."""
    return next((index for index, bound in enumerate(BOUNDS) if confidence <= bound), len(BOUNDS))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
