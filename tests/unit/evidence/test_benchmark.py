"""The benchmark: models of other rules against independent oracles, and the figures that docs quote."""

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.evidence import BASE, main, run, summary
from benchmarks.evidence_peers import Argo, Flagger, _high, _posterior
from benchmarks.evidence_promotion import Judged, rollouts
from benchmarks.evidence_streams import Look, World, information_bound, stream
from puzzle_operator.core.evidence import MetricConfig


def test_the_information_bound_is_the_one_that_the_target_names() -> None:
    assert information_bound(BASE, 0.05, 0.01) == pytest.approx(5.39, abs=0.01)


def test_a_healthy_canary_stays_and_a_bad_one_goes_in_time() -> None:
    found = summary(BASE, 1200, 7, 0.01, ["ours"])["ours"]
    assert found["healthy_rollback_rate"] is not None
    assert found["healthy_rollback_rate"] <= 0.01
    assert found["median_minutes_at_5pct"] is not None
    assert found["median_minutes_at_5pct"] <= 8.0
    assert found["wald_ratio_at_5pct"] is not None
    assert found["wald_ratio_at_5pct"] <= 1.6


def test_an_outage_of_prometheus_rolls_nothing_back_but_it_does_at_the_peers() -> None:
    found = run(World(outage=(5, 15)), 0.005, 300, 3, 0.01, ["ours", "flagger", "argo"])
    assert found.rate("ours") <= 0.02
    assert found.rate("flagger") == 1.0
    assert found.rate("argo") == 1.0


def test_a_fault_that_begins_late_is_found() -> None:
    found = run(World(from_minute=30), 0.05, 300, 3, 0.01, ["ours"])
    median = found.median("ours")
    assert median is not None
    assert median <= 10.0


def test_bursts_that_hit_both_roll_nothing_back() -> None:
    assert run(World(bursts=10.0), 0.005, 600, 3, 0.01, ["ours"]).rate("ours") <= 0.02


def look(added: list[int], visible: bool = True) -> Look:
    return Look(1, np.array([added], dtype=np.int64), visible, False)


def test_flagger_rolls_back_in_the_pass_after_the_fifth_failed_check() -> None:
    judge = Flagger(1)
    bad, good = look([100, 2, 900, 0]), look([100, 0, 900, 0])
    assert [bool(judge.feed(one)[0]) for one in (bad, good, bad, bad, bad, bad, good)] == [False] * 6 + [True]


def test_flagger_passes_an_idle_minute_and_fails_a_dark_one() -> None:
    judge = Flagger(1, threshold=1)
    assert [
        bool(judge.feed(one)[0]) for one in (look([0, 0, 5, 0]), look([9, 0, 5, 0], False), look([9, 0, 5, 0]))
    ] == [
        False,
        False,
        True,
    ]


def test_argo_fails_an_idle_minute() -> None:
    judge = Argo(1, failure_limit=0)
    assert judge.feed(look([0, 0, 5, 0]))[0]


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_kayentas_rule_is_the_test_inverted(shift: float) -> None:
    """Its lower limit exceeds 0.25 x the Hodges-Lehmann estimate if and only if that shift is rejected."""
    rng = np.random.default_rng(11)
    control = rng.normal(0.10, 0.02, (200, 15))
    experiment = rng.normal(0.10 + shift, 0.02, (200, 15))
    expected = []
    for a, b in zip(experiment, control, strict=True):
        estimate = np.median(a[:, None] - b[None, :])
        moved = stats.mannwhitneyu(a - 0.25 * abs(estimate), b, alternative="greater", method="asymptotic")
        expected.append(moved.pvalue < 0.01)
    assert np.mean(_high(experiment, control) == np.array(expected)) >= 0.99


def test_the_posterior_is_an_integral() -> None:
    grid = (np.arange(200_000) + 0.5) / 200_000
    density = stats.beta.pdf(grid, 4, 98)
    expected = float(np.mean(density * stats.beta.cdf(grid, 6, 896)))
    assert _posterior(*(np.array([v]) for v in (100, 3, 900, 5)))[0] == pytest.approx(expected, rel=1e-6)


def test_streams_are_what_they_say() -> None:
    looks = list(stream(World(), 0.05, 400, np.random.default_rng(1)))
    total = sum(one.added.sum(axis=0) for one in looks)
    assert len(looks) == 60
    assert total[0] + total[2] == pytest.approx(400 * 7200, rel=0.01)
    assert total[1] / total[0] == pytest.approx(0.05, rel=0.05)
    assert total[3] / total[2] == pytest.approx(0.005, rel=0.05)
    assert [one.minute for one in looks if one.new_weight] == [20, 40]


@pytest.mark.parametrize(("champion", "rate", "hours"), [(0.005, 10.0, 1.0), (0.0, 10.0, 1.0)])
def test_a_healthy_canary_is_promoted_within_the_hour(champion: float, rate: float, hours: float) -> None:
    end = rollouts([Judged(MetricConfig("errors"), champion, champion)], rate, hours, 150, 5)
    assert np.isfinite(end.promoted).mean() >= 0.9


def test_a_canary_at_the_margin_is_rarely_promoted() -> None:
    config = MetricConfig("errors")
    canary = config.max_risk_ratio * 0.005 + config.negligible
    end = rollouts([Judged(config, 0.005, canary)], 10.0, 3.0, 200, 5)
    assert np.isfinite(end.promoted).mean() <= config.alpha_promote


def test_a_canary_that_is_worse_by_what_is_negligible_is_rarely_rolled_back() -> None:
    config = MetricConfig("errors")
    end = rollouts([Judged(config, 0.0, config.negligible)], 10.0, 2.0, 200, 5)
    assert np.isfinite(end.rolled_back).mean() <= config.alpha_negligible


def test_the_command_prints_the_json_that_was_promised(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--runs", "20", "--seed", "3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"ours", "flagger", "argo", "kayenta", "z-test", "bayes"}
    assert {
        "healthy_rollback_rate",
        "median_minutes_at_5pct",
        "median_minutes_at_2pct",
        "wald_ratio_at_5pct",
    } <= set(found["ours"])
