"""What is said about a model on labelled data: accuracy, recalls, confusion, calibration. Pure numpy, no torch.

Expected calibration error after Naeini et al. 2015 and temperature scaling after Guo et al. 2017 (ICML).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """One class: how much of it was found, and how much of what was called it really was."""

    name: str
    support: int
    recall: float | None  # None: no image of this class
    precision: float | None  # None: never predicted


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Figures of one model on one data set. ``confusion[i][j]`` counts images of class i called j."""

    images: int
    accuracy: float
    log_loss: float
    ece: float
    mean_confidence: float
    low_confidence: float  # share of images with a top probability below 0.6
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def softmax(logits_NK: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities of shape (n, k)."""
    scaled = logits_NK / temperature
    shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def score(probabilities_NK: Floats, labels_N: Ints, classes: tuple[str, ...]) -> Scores:
    """Judge probabilities of shape (n, k) against labels of shape (n,). Raises ValueError when there are none."""
    count = len(labels_N)
    if count == 0:
        raise ValueError("no images to judge")
    called = probabilities_NK.argmax(axis=1)
    top = probabilities_NK.max(axis=1)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels_N, called), 1)
    own = probabilities_NK[np.arange(count), labels_N]
    return Scores(
        images=count,
        accuracy=_round(float((called == labels_N).mean())),
        log_loss=_round(float(-np.log(np.maximum(own, 1e-12)).mean())),
        ece=_round(calibration_error(top, called == labels_N)),
        mean_confidence=_round(float(top.mean())),
        low_confidence=_round(float((top < 0.6).mean())),
        per_class=tuple(_class_score(name, confusion, i) for i, name in enumerate(classes)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def calibration_error(confidence_N: Floats, right_N: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over 15 equal bins, weighted by their size."""
    bins = np.minimum((confidence_N * BINS).astype(np.int64), BINS - 1)
    error = 0.0
    for index in range(BINS):
        inside = bins == index
        if inside.any():
            error += float(inside.mean()) * abs(float(confidence_N[inside].mean()) - float(right_N[inside].mean()))
    return error


def fit_temperature(logits_NK: Floats, labels_N: Ints) -> float:
    """The temperature of least log loss, by golden-section search over its logarithm, between 0.2 and 10.

    The loss is quasi-convex in the temperature. On few or perfectly separated images the optimum runs to the
    lower end; the bound keeps a model from claiming certainty that so little data cannot show.
    """

    def loss(log_t: float) -> float:
        probabilities = softmax(logits_NK, float(np.exp(log_t)))
        return float(-np.log(np.maximum(probabilities[np.arange(len(labels_N)), labels_N], 1e-12)).mean())

    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    low, high = float(np.log(0.2)), float(np.log(10.0))
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return _round(float(np.exp((low + high) / 2)))


def _class_score(name: str, confusion: Ints, index: int) -> ClassScore:
    hits, support, called = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
    return ClassScore(
        name=name,
        support=int(support),
        recall=_round(float(hits / support)) if support else None,
        precision=_round(float(hits / called)) if called else None,
    )


def _round(value: float) -> float:
    return round(value, 6)
