"""Distributions in a few numbers: histograms of which only the bins that hold something are kept.

Medians and shares come out within the width of a bin, whatever was added in which order, and two of them are merged by
adding them up: so a day is the sum of its minutes, and no single strange picture moves anything far.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

Sketch = Counter[int]
"""Number of values by bin."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become bins: of equal width, or, where `smallest` is set, of equal ratio."""

    per_unit: int
    """Bins for 1, or for a doubling."""
    smallest: float = 0.0
    """Values below it share the first bin."""

    def bin(self, value: float) -> int:
        """The bin of a value."""
        if not self.smallest:
            return int(value * self.per_unit)
        return int(math.log2(value / self.smallest) * self.per_unit) if value > self.smallest else 0

    def lower(self, index: int) -> float:
        """Where a bin begins."""
        if not self.smallest:
            return index / self.per_unit
        return self.smallest * 2.0 ** (index / self.per_unit) if index else 0.0


def median(sketch: Mapping[int, int], scale: Scale) -> float | None:
    """The value that half of all are below; None without values."""
    return quantile(sketch, scale, 0.5)


def quantile(sketch: Mapping[int, int], scale: Scale, share: float) -> float | None:
    """The value that this share of all are below, as if they lay evenly within their bin."""
    wanted, below = sum(sketch.values()) * share, 0
    for index, count in sorted(sketch.items()):
        if count and below + count >= wanted:
            low, high = scale.lower(index), scale.lower(index + 1)
            return low + (high - low) * (wanted - below) / count
        below += count
    return None


def share_above(sketch: Mapping[int, int], scale: Scale, limit: float) -> float:
    """The share of values above a limit, to within a bin; 0 without values."""
    total = sum(sketch.values())
    if not total:
        return 0.0
    above = 0.0
    for index, count in sketch.items():
        low, high = scale.lower(index), scale.lower(index + 1)
        if low >= limit:
            above += count
        elif high > limit:
            above += count * (high - limit) / (high - low)
    return above / total
