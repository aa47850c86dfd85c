"""How long a healthy canary takes to be promoted, and how bad a canary could slip through.

Unlike the comparison with peers, weights here follow the verdict as in the operator: a Pass leads to the next
step, the last one to promotion, a Fail ends it. Ours only; no peer demands evidence before promotion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence_twin import Twin
from puzzle_operator.core.evidence import MetricConfig

Floats = NDArray[np.float64]
STEPS = (0.10, 0.25, 0.50)


@dataclass(frozen=True)
class Judged:
    """A metric and the truth behind it: the bad rates of both versions."""

    config: MetricConfig
    champion: float
    canary: float


@dataclass(frozen=True)
class Outcome:
    """(runs,) minutes until promotion and until rollback, infinite where it did not happen."""

    promoted: Floats
    rolled_back: Floats


def rollouts(
    metrics: Sequence[Judged],
    rate: float,
    hours: float,
    runs: int,
    seed: int,
    steps: tuple[float, ...] = STEPS,
) -> Outcome:
    """Roll out to the end or for so many hours, with a scrape and a look each minute.

    Args:
        metrics: what is judged, on the same requests; the shares of their configs are those of `steps`. All
            have to pass, and one that fails ends it.
        rate: requests per second, both versions together.
        hours: when to stop.
        runs: how many rollouts.
        seed: of the random numbers.
        steps: the weights.
    """
    twins = [Twin(replace(one.config, shares=(*steps[1:], 1.0)), runs) for one in metrics]
    rng = np.random.default_rng(seed)
    step = np.zeros(runs, dtype=np.int64)
    outcome = Outcome(np.full(runs, math.inf), np.full(runs, math.inf))
    for minute in range(1, round(hours * 60) + 1):
        live = step < len(steps)
        if not live.any():
            break
        at = np.minimum(step, len(steps) - 1)
        total = rng.poisson(rate * 60.0, runs)
        n = rng.binomial(total, np.asarray(steps)[at])
        fails, passes = np.zeros(runs, dtype=bool), live.copy()
        for one, twin in zip(metrics, twins, strict=True):
            bad = rng.binomial(n, one.canary), rng.binomial(total - n, one.champion)
            added = np.stack([n, bad[0], total - n, bad[1]], axis=1)
            twin.feed(np.where(live[:, None], added, 0))
            fails |= live & twin.fails()
            passes &= _enough(twin, at)
        passes &= ~fails
        outcome.rolled_back[fails] = minute
        outcome.promoted[passes & (at == len(steps) - 1)] = minute
        for twin in twins:
            twin.settle(passes)
        step = np.where(fails, len(steps), step + passes)
    return outcome


def _enough(twin: Twin, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(runs,): whether the evidence at step `at` suffices for the next."""
    last = len(twin.config.shares) - 1
    alphas = np.where(at == last, twin.config.alpha_promote, twin.config.alpha_advance)
    reached = np.stack([twin.log_promote(i) for i in range(last + 1)], axis=1)
    return np.asarray(reached[np.arange(twin.runs), at] >= -np.log(alphas))
