"""Bounds to show beside a number, that hold at every look together and not only at one.

A person who watches "0.4 % (0.1 to 1.3 %)" change for an hour sees hundreds of intervals; ordinary 95 %
intervals would nearly surely be wrong somewhere. These are confidence sequences: with chance 1 - alpha the
truth is inside at all times. They inform; verdicts are made in `judge`.

Both stand on one e-value: for n requests with x bad ones and a claimed rate p, the likelihood under a rate
drawn from Beta(1/2, 1/2), divided by the likelihood under p (Robbins, Ann. Math. Stat. 41(5), 1970; for
quantiles, Howard & Ramdas, "Sequential estimation of quantiles", Bernoulli 28(3), 2022, arXiv:1906.09712).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = 60  # halvings of an interval in [0, 1]: more than a float can tell apart


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`; for a quantile, `high` may be infinite."""

    low: float
    high: float


def rate_bounds(bad: int, requests: int, alpha: float = 0.05) -> Interval:
    """Bounds of the bad rate that hold at all looks together with chance 1 - alpha. [0, 1] before any request.

    Raises:
        ValueError: unless requests >= bad >= 0 and 0 < alpha < 1.
    """
    _check(bad, requests, alpha)
    if requests == 0:
        return Interval(0.0, 1.0)
    centre, bound = bad / requests, -math.log(alpha)
    low = _edge(bad, requests, 0.0, centre, bound) if bad else 0.0
    high = _edge(bad, requests, 1.0, centre, bound) if bad < requests else 1.0
    return Interval(low, high)


def quantile_bounds(bounds: Sequence[float], counts: Sequence[int], quantile: float, alpha: float = 0.05) -> Interval:
    """Bounds of a quantile of latency from a histogram, that hold at all looks together.

    Args:
        bounds: upper bounds of the buckets (Prometheus' `le`), rising, the last one infinite.
        counts: requests at or below each of them, so not falling; the last is the number of all requests.
        quantile: in (0, 1), for example 0.95.
        alpha: chance that the bounds are ever wrong.

    Returns:
        Bounds in the unit of `bounds`; no finer than the buckets. 0 and infinity until there is evidence.

    Raises:
        ValueError: if the histogram is not of that form, or quantile or alpha is out of range.
    """
    rising = all(a < b for a, b in itertools.pairwise(bounds))
    not_falling = all(a <= b for a, b in itertools.pairwise(counts))
    if len(bounds) != len(counts) or not bounds or bounds[-1] != math.inf or not rising:
        raise ValueError(f"histogram: bounds {bounds} must rise to infinity, one for each of {len(counts)} counts")
    if not not_falling or counts[0] < 0:
        raise ValueError(f"histogram: counts {counts} must not fall")
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"quantile is {quantile}; it must lie between 0 and 1")
    requests = counts[-1]
    _check(0, requests, alpha)
    # The quantile lies in one bucket. Only the test at its lower and that at its upper edge can be wrong in
    # a way that matters, since the counts on either side are more extreme: alpha is halved, not divided by
    # the number of buckets.
    bound = -math.log(alpha / 2.0)
    low, high = 0.0, math.inf
    for edge, below in zip(bounds[:-1], counts[:-1], strict=True):
        if _log_e(below, requests, quantile) < bound:
            continue
        if below < quantile * requests:
            low = edge
        else:
            high = min(high, edge)
    return Interval(low, high)


def _check(bad: int, requests: int, alpha: float) -> None:
    if not 0 <= bad <= requests:
        raise ValueError(f"{bad} bad of {requests} requests; need requests >= bad >= 0")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")


def _log_e(bad: int, requests: int, rate: float) -> float:
    """Logarithm of the evidence against a bad rate of `rate`, 0 < rate < 1."""
    good = requests - bad
    mixed = math.lgamma(bad + 0.5) + math.lgamma(good + 0.5) - math.lgamma(requests + 1.0) - math.log(math.pi)
    return mixed - bad * math.log(rate) - good * math.log1p(-rate)


def _edge(bad: int, requests: int, outside: float, inside: float, bound: float) -> float:
    """Where between `outside` and `inside` the evidence against a rate falls to `bound`; it only falls."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2.0
        if 0.0 < middle < 1.0 and _log_e(bad, requests, middle) < bound:
            inside = middle
        else:
            outside = middle
    return outside
