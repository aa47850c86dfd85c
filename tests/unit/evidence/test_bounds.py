"""Bounds for display: they hold at all looks together, and they are not absurdly wide."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzle_operator.core.evidence import Interval, quantile_bounds, rate_bounds

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, math.inf)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_truth_ever_leaves_the_bounds_with_at_most_alpha(rate: float) -> None:
    """By counting paths: chance of each number of bad requests among courses that never left so far."""
    inside, left = {0: 1.0}, 0.0
    for requests in range(1, 60):
        following: dict[int, float] = {}
        for bad, chance in inside.items():
            for now, step in ((bad, 1.0 - rate), (bad + 1, rate)):
                following[now] = following.get(now, 0.0) + chance * step
        bounds = {bad: rate_bounds(bad, requests, 0.2) for bad in following}
        left += sum(c for bad, c in following.items() if not bounds[bad].low <= rate <= bounds[bad].high)
        inside = {bad: c for bad, c in following.items() if bounds[bad].low <= rate <= bounds[bad].high}
    assert 0.01 < left <= 0.2


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.001, 0.5))
def test_bounds_surround_what_was_seen(bad: int, good: int, alpha: float) -> None:
    bounds = rate_bounds(bad, bad + good, alpha)
    assert 0.0 <= bounds.low <= bad / max(bad + good, 1) <= bounds.high <= 1.0


def test_bounds_are_as_narrow_as_they_should_be() -> None:
    # Fixed-n exact 95 % bounds of 50 in 10,000 are 0.37 and 0.66 %; holding at all looks costs half as much again.
    bounds = rate_bounds(50, 10_000, 0.05)
    assert bounds.low == pytest.approx(0.0029, abs=2e-4)
    assert bounds.high == pytest.approx(0.0082, abs=2e-4)


def test_nothing_seen_bounds_nothing() -> None:
    assert rate_bounds(0, 0) == Interval(0.0, 1.0)
    assert quantile_bounds(BUCKETS, (0,) * 8, 0.95) == Interval(0.0, math.inf)


def test_a_quantile_is_pinned_to_its_bucket() -> None:
    # 95 % lies in the middle of the bucket from 0.1 to 0.25.
    counts = [int(40_000 * share) for share in (0.1, 0.3, 0.6, 0.9, 0.98, 0.999, 1.0, 1.0)]
    assert quantile_bounds(BUCKETS, counts, 0.95) == Interval(0.1, 0.25)


def test_few_requests_leave_a_high_quantile_open() -> None:
    assert quantile_bounds(BUCKETS, (2, 6, 12, 18, 20, 20, 20, 20), 0.99).high == math.inf


def test_the_quantile_ever_leaves_its_bounds_with_at_most_alpha() -> None:
    """600 streams, a look each 50 requests; the true 90 % point is at 0.23 s."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(600):
        latencies = rng.exponential(0.1, 1000)
        edges = np.asarray(BUCKETS[:-1])
        ever = False
        for looked in range(50, 1001, 50):
            counts = [int((latencies[:looked] <= edge).sum()) for edge in edges] + [looked]
            bounds = quantile_bounds(BUCKETS, counts, 0.9, alpha=0.2)
            ever |= not bounds.low <= 0.1 * math.log(10.0) <= bounds.high
        wrong += ever
    assert wrong <= 0.2 * 600


@pytest.mark.parametrize(
    ("bounds", "counts", "quantile", "sentence"),
    [
        ((0.1, 0.2), (1, 2), 0.5, "must rise to infinity"),
        ((0.2, 0.1, math.inf), (1, 2, 3), 0.5, "must rise to infinity"),
        ((0.1, math.inf), (3, 2), 0.5, "must not fall"),
        ((0.1, math.inf), (1, 2, 3), 0.5, "one for each"),
        ((0.1, math.inf), (1, 2), 1.0, "quantile is 1.0"),
    ],
)
def test_a_histogram_that_is_none_is_refused(
    bounds: tuple[float, ...], counts: tuple[int, ...], quantile: float, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        quantile_bounds(bounds, counts, quantile)


@pytest.mark.parametrize(("bad", "requests", "alpha"), [(3, 2, 0.05), (-1, 2, 0.05), (1, 2, 0.0), (1, 2, 1.0)])
def test_senseless_counts_are_refused(bad: int, requests: int, alpha: float) -> None:
    with pytest.raises(ValueError, match=r"requests >= bad|alpha is"):
        rate_bounds(bad, requests, alpha)


def test_bounds_shrink_as_requests_come() -> None:
    widths = [rate_bounds(n // 200, n) for n in (200, 2_000, 20_000, 200_000)]
    assert all(a.high - a.low > 2 * (b.high - b.low) for a, b in itertools.pairwise(widths))
