"""How others decide, as their sources have it, on the same streams as ours.

Every rule is applied once a look to the window since the last one, with the settings that its documentation
shows, and may only roll back: weights follow the same schedule for all. Each class names the file it models.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from benchmarks.evidence_streams import Look
from benchmarks.evidence_twin import Twin
from puzzle_operator.core.evidence import MetricConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Judge(Protocol):
    """Says after every look which of the rollouts it would roll back now."""

    def feed(self, look: Look) -> Flags: ...


class Ours:
    """puzzle_operator.core.evidence, through its numpy twin. An outage is one late scrape."""

    def __init__(self, runs: int, alpha: float) -> None:
        self.twin = Twin(MetricConfig("errors", alpha_rollback=alpha), runs)
        self.unseen = np.zeros((runs, 4), dtype=np.int64)

    def feed(self, look: Look) -> Flags:
        self.unseen += look.added
        if look.visible:
            self.twin.feed(self.unseen)
            self.unseen = np.zeros_like(self.unseen)
        if look.new_weight:
            self.twin.settle(np.ones(self.twin.runs, dtype=bool))
        return self.twin.fails() & look.visible


@dataclass
class Flagger:
    """Flagger: success rate of at least 99 %, interval 1 m, threshold 5.

    github.com/fluxcd/flagger pkg/controller/scheduler.go, advanceCanary: `FailedChecks + 1` when runAnalysis is
    false and never reset within a rollout; rollback in the pass after `FailedChecks >= GetAnalysisThreshold()`.
    pkg/controller/scheduler_metrics.go, runBuiltinMetricChecks: a query error or no values is a failed check; so
    is `val < *tr.Min`. pkg/metrics/observers/knative.go: the rate over the interval; without requests it is NaN,
    and NaN < 99 is false, so such a check passes (in Flagger's favour).
    """

    runs: int
    least: float = 0.99
    threshold: int = 5

    def __post_init__(self) -> None:
        self.failed = np.zeros(self.runs, dtype=np.int64)

    def feed(self, look: Look) -> Flags:
        rollback = self.failed >= self.threshold
        n, x = look.added[:, 0], look.added[:, 1]
        self.failed += (n - x < self.least * n) if look.visible else True
        return rollback


@dataclass
class Argo:
    """Argo Rollouts: successCondition result[0] >= 0.99, interval 1 m, failureLimit 3.

    github.com/argoproj/argo-rollouts analysis/analysis.go, assessMetricStatus: Failed once `result.Failed >
    metric.FailureLimit`, Error once consecutive errors exceed 4; both abort. generateMetricTasks: after an error
    the next attempt comes 10 s later (DefaultErrorRetryInterval), so five of them fit into a minute.
    metricproviders/prometheus/prometheus.go and utils/evaluate/evaluate.go: a NaN result fails the condition.
    """

    runs: int
    least: float = 0.99
    failure_limit: int = 3

    def __post_init__(self) -> None:
        self.failed = np.zeros(self.runs, dtype=np.int64)
        self.aborted = np.zeros(self.runs, dtype=bool)

    def feed(self, look: Look) -> Flags:
        n, x = look.added[:, 0], look.added[:, 1]
        if look.visible:
            self.failed += ~((n > 0) & (n - x >= self.least * n))
        else:
            self.aborted[:] = True
        return self.aborted | (self.failed > self.failure_limit)


class Kayenta:
    """Kayenta: NetflixACAJudge on the error rate of each look, judged anew six times in a rollout.

    github.com/spinnaker/kayenta kayenta-judge/.../judge/NetflixACAJudge.scala: confidence 0.98, tolerance 0.25.
    kayenta-judge/.../classifiers/metric/MannWhitneyClassifier.scala: High when the lower confidence limit of the
    shift exceeds 0.25 x |Hodges-Lehmann estimate|; Pass for empty (Nodata), identical or all-tied data.
    kayenta-mannwhitney/.../MannWhitney.scala: the limits solve R's asymptotic wilcox.test with ties and
    continuity correction; here they are read off the ordered differences, which is the same root. Minutes
    without requests are NaN and removed.
    """

    def __init__(self, runs: int, every: int) -> None:
        self.every = every
        self.canary: list[Floats] = []
        self.champion: list[Floats] = []
        self.failed = np.zeros(runs, dtype=bool)

    def feed(self, look: Look) -> Flags:
        if look.visible:
            n, x, m, y = (look.added[:, i].astype(np.float64) for i in range(4))
            with np.errstate(invalid="ignore", divide="ignore"):
                self.canary.append(x / n)
                self.champion.append(y / m)
        if look.minute % self.every == 0 and look.visible:
            experiment, control = np.stack(self.canary, axis=1), np.stack(self.champion, axis=1)
            open_ = np.flatnonzero(~self.failed)
            # In parts: a day of looks has 80,000 pairs in each run.
            for rows in np.array_split(open_, max(1, open_.size * experiment.shape[1] ** 2 // 5_000_000)):
                self.failed[rows] = _high(experiment[rows], control[rows])
        return self.failed.copy()


def _high(experiment: Floats, control: Floats, tolerance: float = 0.25, confidence: float = 0.98) -> Flags:
    """(runs,): whether MannWhitneyClassifier says High; (runs, points) in, NaN is a missing point."""
    runs = len(experiment)
    if runs == 0:
        return np.zeros(0, dtype=bool)
    a = (~np.isnan(experiment)).sum(axis=1).astype(np.float64)
    b = (~np.isnan(control)).sum(axis=1).astype(np.float64)
    differences = (experiment[:, :, None] - control[:, None, :]).reshape(runs, -1)
    # Missing points sort first, below every real difference.
    differences = np.sort(np.where(np.isnan(differences), -np.inf, differences), axis=1)
    size = differences.shape[1]
    pairs = a * b
    with np.errstate(invalid="ignore", divide="ignore"):
        ties = (_ties(experiment) + _ties(control)) / ((a + b) * (a + b - 1.0))
        sigma = np.sqrt(pairs / 12.0 * ((a + b + 1.0) - ties))
        above = pairs / 2.0 + 0.5 + stats.norm.ppf(0.5 + confidence / 2.0) * sigma
    valid = (pairs > 0) & np.isfinite(sigma) & (sigma > 0.0)
    # As many differences lie above the lower limit as the test needs to reject no shift at all.
    place = np.where(valid, np.clip(size - 1 - np.floor(np.where(valid, above, 0.0)), 0, size - 1), 0).astype(int)
    lower = differences[np.arange(runs), place]
    middle = np.where(valid, size - 1 - np.floor(pairs / 2.0), 0).astype(int)
    estimate = differences[np.arange(runs), middle]
    reachable = valid & (above < pairs)
    with np.errstate(invalid="ignore"):
        return np.asarray(reachable & (lower > tolerance * np.abs(estimate)))


def _ties(values: Floats) -> Floats:
    """(runs,): sum of t^3 - t over the groups of t equal values in each row."""
    ordered = np.sort(values, axis=1)
    total = np.zeros(len(values))
    run = np.ones(len(values))
    for i in range(1, ordered.shape[1] + 1):
        same = ordered[:, i] == ordered[:, i - 1] if i < ordered.shape[1] else np.zeros(len(values), dtype=bool)
        total += np.where(same, 0.0, run**3 - run)
        run = np.where(same, run + 1.0, 1.0)
    return total


class Cumulative(ABC):
    """All requests so far, for the two rules that people write by hand."""

    def __init__(self, runs: int, alpha: float) -> None:
        self.alpha = alpha
        self.total = np.zeros((runs, 4), dtype=np.int64)
        self.failed = np.zeros(runs, dtype=bool)

    def feed(self, look: Look) -> Flags:
        self.total += look.added
        if look.visible:
            rows = np.flatnonzero(~self.failed & (self.total[:, 0] > 0) & (self.total[:, 2] > 0))
            n, x, m, y = (self.total[rows, i] for i in range(4))
            self.failed[rows] = self.worse(n, x, m, y)
        return self.failed.copy()

    @abstractmethod
    def worse(self, n: Ints, x: Ints, m: Ints, y: Ints) -> Flags:
        """(runs,): whether the challenger's x of n is too bad next to the champion's y of m."""


class ZTest(Cumulative):
    """A one-sided two-proportion z-test at level alpha, repeated at every look."""

    def worse(self, n: Ints, x: Ints, m: Ints, y: Ints) -> Flags:
        pooled = (x + y) / (n + m)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (x / n - y / m) / np.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
        return np.asarray(np.nan_to_num(z) > stats.norm.ppf(1.0 - self.alpha))


class Bayes(Cumulative):
    """Roll back when P(canary rate > champion rate) > 1 - alpha under uniform priors, at every look."""

    def worse(self, n: Ints, x: Ints, m: Ints, y: Ints) -> Flags:
        found = np.zeros(len(n))
        few = x <= 80
        found[few] = _posterior(n[few], x[few], m[few], y[few])
        # With more bad requests the posteriors are as good as normal.
        p, q = (x[~few] + 1) / (n[~few] + 2), (y[~few] + 1) / (m[~few] + 2)
        spread = np.sqrt(p * (1 - p) / (n[~few] + 3) + q * (1 - q) / (m[~few] + 3))
        found[~few] = stats.norm.cdf((p - q) / spread)
        return found > 1.0 - self.alpha


def _posterior(n: Ints, x: Ints, m: Ints, y: Ints) -> Floats:
    """P(p > q) for p ~ Beta(1 + x, 1 + n - x), q ~ Beta(1 + y, 1 + m - y), exactly (a sum over x + 1 terms)."""
    total = np.zeros(len(n))
    b_p, a_q, b_q = 1.0 + n - x, 1.0 + y, 1.0 + m - y
    base = special.betaln(a_q, b_q)
    for i in range(int(x.max()) + 1 if len(x) else 0):
        term = special.betaln(a_q + i, b_p + b_q) - np.log(b_p + i) - special.betaln(1.0 + i, b_p) - base
        total += np.where(i <= x, np.exp(term), 0.0)
    return total


def judges(runs: int, alpha: float, minutes: int) -> dict[str, Judge]:
    """Fresh judges by name, ours first, for rollouts of so many minutes."""
    return {
        "ours": Ours(runs, alpha),
        "flagger": Flagger(runs),
        "argo": Argo(runs),
        "kayenta": Kayenta(runs, minutes // 6),
        "z-test": ZTest(runs, alpha),
        "bayes": Bayes(runs, alpha),
    }


def first_fails(judge_fails: list[tuple[int, Flags]], runs: int) -> Floats:
    """(runs,): minute of the first rollback, infinite where there is none."""
    first = np.full(runs, math.inf)
    for minute, fails in judge_fails:
        first[np.isinf(first) & fails] = minute
    return first
