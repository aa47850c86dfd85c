"""Whether drift does harm: what labels say, else what the model's own confidence says, else Unknown.

Drift alone is no reason to retrain: a new batch of cardboard may look different and be classified just as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

ALPHA = 0.001
"""For Yes. Small, because the question is asked anew with every label."""
BETA = 0.05
"""For No."""
MARGIN = 0.05
"""Share of errors above the reference's that still counts as holding."""
ENOUGH = 10
"""Labels, or images for a mean confidence, without which nothing is said."""
DROP = 0.05
"""Fall of the mean confidence that matters."""
SIGMAS = 4.0


class Harmful(StrEnum):
    """In the words of the monitor."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled images since the alarm began."""

    labelled: int = 0
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class Confidence:
    """Sums over the images since the alarm began."""

    images: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float:
        """Of at least one image."""
        return self.total / self.images


@dataclass(frozen=True, slots=True)
class Normal:
    """What the reference says is usual."""

    pieces: int
    wrong: int
    confidence: float
    deviation: float

    @property
    def error_rate(self) -> float:
        """Of the reference, never quite 0: nobody is perfect for ever."""
        return (self.wrong + 1) / (self.pieces + 2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, with the clause that gives its reason."""

    harmful: Harmful
    reason: str


def judge(labels: Labels, confidence: Confidence, normal: Normal) -> Verdict:
    """Labels outrank confidence: a network may be sure of itself and wrong."""
    seen = _of_labels(labels, normal)
    if seen.harmful is not Harmful.UNKNOWN:
        return seen
    sure = _of_confidence(confidence, normal)
    if sure.harmful is Harmful.YES:
        return sure
    return seen


def _of_labels(labels: Labels, normal: Normal) -> Verdict:
    n, wrong, usual = labels.labelled, labels.wrong, normal.error_rate
    if n == 0:
        return Verdict(Harmful.UNKNOWN, "no image since then has a label yet")
    told = f"accuracy of the {n} labelled images since then is {1 - wrong / n:.3f}, the reference's {1 - usual:.3f}"
    worse = upper_tail(wrong, n, usual)
    if n >= ENOUGH and worse <= ALPHA:
        return Verdict(Harmful.YES, f"{told} (p = {worse:.1g})")
    if n >= ENOUGH and lower_tail(wrong, n, min(0.999, usual + MARGIN)) <= BETA:
        return Verdict(Harmful.NO, f"{told}: it holds within {MARGIN:g}")
    return Verdict(Harmful.UNKNOWN, f"{told}: too few labels to tell")


def _of_confidence(confidence: Confidence, normal: Normal) -> Verdict:
    if confidence.images < ENOUGH:
        return Verdict(Harmful.UNKNOWN, "too few images since then")
    drop = normal.confidence - confidence.mean
    error = normal.deviation * math.sqrt(1 / confidence.images + 1 / normal.pieces)
    if drop >= DROP and drop > SIGMAS * error:
        return Verdict(
            Harmful.YES,
            f"mean confidence fell from {normal.confidence:.3f} to {confidence.mean:.3f} over "
            f"{confidence.images} images",
        )
    return Verdict(Harmful.UNKNOWN, f"mean confidence is {confidence.mean:.3f}, usually {normal.confidence:.3f}")


def upper_tail(count: int, n: int, p: float) -> float:
    """P(X >= count) for X binomial(n, p), exactly."""
    return _mass(range(count, n + 1), n, p)


def lower_tail(count: int, n: int, p: float) -> float:
    """P(X <= count)."""
    return _mass(range(count + 1), n, p)


def _mass(counts: range, n: int, p: float) -> float:
    log_p, log_q, log_n = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    terms = (
        math.exp(log_n - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_p + (n - k) * log_q) for k in counts
    )
    return min(1.0, math.fsum(terms))
