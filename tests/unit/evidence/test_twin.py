"""The benchmark's numpy twin is the operator's own judge: same streams, same numbers."""

import numpy as np
import pytest

from benchmarks.evidence_twin import Twin
from puzzle_operator.core.evidence import (
    Increment,
    MetricConfig,
    MetricVerdict,
    assess,
    fresh,
    settle,
    update,
)

RUNS, SCRAPES = 20, 24


@pytest.mark.parametrize(
    ("requests", "canary_rate", "champion_rate"),
    [
        (30, 0.005, 0.005),
        (120, 0.05, 0.005),
        (300, 0.3, 0.2),
        (6, 0.5, 0.02),
        (40, 0.0, 0.0),
        (3, 1.0, 1.0),
        (9000, 0.3, 0.2),
    ],
)
def test_the_twin_agrees_with_the_judge(requests: float, canary_rate: float, champion_rate: float) -> None:
    config = MetricConfig("errors", shares=(0.5, 1.0))
    rng = np.random.default_rng(20261123)
    twin = Twin(config, RUNS)
    states = [fresh(config)] * RUNS
    for scrape in range(SCRAPES):
        total = rng.poisson(requests, RUNS)
        canary = rng.binomial(total, 0.1 if scrape < SCRAPES // 2 else 0.5)
        champion = total - canary
        bad = rng.binomial(canary, canary_rate), rng.binomial(champion, champion_rate)
        increments = np.stack([canary, bad[0], champion, bad[1]], axis=1)
        twin.feed(increments)
        states = [
            update(state, Increment(*row), config) for state, row in zip(states, increments.tolist(), strict=True)
        ]
        if scrape == SCRAPES // 2:
            twin.settle(np.ones(RUNS, dtype=bool))
            states = [settle(state, config) for state in states]
        found = [assess(state, config) for state in states]
        np.testing.assert_allclose(twin.log_rollback(), [f.log_e_rollback for f in found], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(twin.log_serious(), [f.log_e_serious for f in found], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(twin.log_promote(1), [f.log_e_promote for f in found], rtol=1e-9, atol=1e-9)
        assert twin.fails().tolist() == [f.verdict is MetricVerdict.FAIL for f in found]
    half = [assess(state, config, 0.5).log_e_promote for state in states]
    np.testing.assert_allclose(twin.log_promote(0), half, rtol=1e-9, atol=1e-9)
