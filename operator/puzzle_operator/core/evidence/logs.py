"""Sums of things that are only known by their logarithm: evidence spans hundreds of orders of magnitude."""

from __future__ import annotations

import math
from collections.abc import Sequence


def log_sum(logs: Sequence[float]) -> float:
    """log(sum of exp(log)); -inf for an empty sum."""
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return top
    return top + math.log(math.fsum(math.exp(value - top) for value in logs))


def log_of(value: float) -> float:
    """log(value), and -inf for 0 instead of an error."""
    return math.log(value) if value > 0.0 else -math.inf
