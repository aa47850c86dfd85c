"""The evidence core of the operator, for thousands of rollouts at once.

`puzzle_operator.core.evidence` judges one rollout in plain Python; thousands of simulated hours need numpy.
This twin does the same arithmetic on arrays, one entry for each run; `tests/unit/evidence/test_twin.py`
proves on random streams that both give the same numbers: what is measured here is what the operator does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from puzzle_operator.core.evidence import Margin, MetricConfig, margin_for, promotion, rollback

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _log_factorials(highest: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, highest + 1, dtype=np.float64)))])


def _log_sum(logs: Floats, axis: int) -> Floats:
    top = logs.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(np.exp(logs - safe).sum(axis=axis, keepdims=True)) + safe).squeeze(axis))


@dataclass
class Twin:
    """Evidence of `runs` rollouts: `feed` is `update`, the logs are those of `assess`.

    The defaults are the operator's; other `bets`, no reserve or no scaling are for comparison
    (`evidence_variants.py`).
    """

    config: MetricConfig
    runs: int
    bets: tuple[tuple[float, float], ...] = ()
    reserved: float = rollback.reserve(0)
    scales_to_cap: bool = True
    must_be_serious: bool = True
    margins: tuple[Margin, ...] = field(init=False)
    rollback_logs: Floats = field(init=False)
    serious_logs: Floats = field(init=False)
    promote_logs: Floats = field(init=False)
    total: Ints = field(init=False)
    pending: Ints = field(init=False)
    pending_scrapes: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.margins = tuple(margin_for(self.config, share) for share in self.config.shares)
        self.bets = self.bets or rollback.bets(self.config)
        first = [math.log((1.0 - self.reserved) * part) for _, part in self.bets]
        self.rollback_logs = np.tile(first, (self.runs, 1))
        self.serious_logs = np.tile(rollback.start_serious(), (self.runs, 1))
        self.promote_logs = np.tile(promotion.start(), (self.runs, len(self.margins), 1))
        self.total = np.zeros((self.runs, 4), dtype=np.int64)
        self.pending = np.zeros((self.runs, 4), dtype=np.int64)
        self.pending_scrapes = np.zeros(self.runs, dtype=np.int64)

    def feed(self, increments: Ints) -> None:
        """One scrape: (runs, 4) of canary requests, canary bad, champion requests, champion bad."""
        counted = (increments.any(axis=1)) | (self.pending.any(axis=1))
        self.total += increments
        self.pending += increments
        self.pending_scrapes += counted
        quiet = np.minimum(self.pending[:, 0], self.pending[:, 2])
        self.settle((quiet >= self.config.block) | (self.pending_scrapes >= self.config.block_scrapes))

    def settle(self, which: NDArray[np.bool_]) -> None:
        """Close the open block of the runs that are true in `which`."""
        rows = np.flatnonzero(which & self.pending.any(axis=1))
        if rows.size:
            self._step_rollback(rows)
            self._step_serious(rows)
            self._step_promotion(rows)
            self.pending[rows] = 0
        self.pending_scrapes[which] = 0

    def log_rollback(self) -> Floats:
        """(runs,): as Assessment.log_e_rollback."""
        return self._owned(self.rollback_logs)

    def log_serious(self) -> Floats:
        """(runs,): as Assessment.log_e_serious."""
        return self._owned(self.serious_logs)

    def log_promote(self, margin: int) -> Floats:
        """(runs,): as Assessment.log_e_promote for the share of that place in config.shares."""
        return _log_sum(self.promote_logs[:, margin, :], 1)

    def fails(self) -> NDArray[np.bool_]:
        """(runs,): where `assess` says Fail."""
        worse = self.log_rollback() >= -math.log(self.config.alpha_rollback)
        if not self.must_be_serious:
            return worse
        return worse & (self.log_serious() >= -math.log(self.config.alpha_negligible))

    def _owned(self, stakes: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            kept = np.log(self._reserve(self.total[:, 0] - self.pending[:, 0]))
        return _log_sum(np.concatenate([stakes, kept[:, None]], axis=1), 1)

    def _reserve(self, requests: Ints) -> Floats:
        return np.asarray(self.reserved / np.sqrt(1.0 + requests / rollback.RESERVE_SCALE))

    def _step_promotion(self, rows: Ints) -> None:
        n, x, m, y = (self.pending[rows, i].astype(np.float64)[:, None] for i in range(4))
        odds = np.where(m > 0, n / np.maximum(m, 1.0), 0.0)
        bets = np.array([bet for bet, _ in promotion.BETS])[None, :]
        for place, margin in enumerate(self.margins):
            gain = margin.excess * bets * n + x * np.log1p(-bets) + y * np.log1p(bets * margin.ratio * odds)
            self.promote_logs[rows, place, :] += np.where(n > 0, gain, 0.0)

    def _step_rollback(self, rows: Ints) -> None:
        before = self.total[rows, 0] - self.pending[rows, 0]
        after = self._reserve(before + self.pending[rows, 0])
        spent = self._reserve(before) - after
        parts = np.array([part for _, part in self.bets])
        with np.errstate(divide="ignore"):
            staked = np.logaddexp(self.rollback_logs[rows], np.log(spent)[:, None] + np.log(parts))
        self.rollback_logs[rows] = staked
        n, x, m, y = (self.pending[rows, i] for i in range(4))
        compares = (x + y > 0) & (n > 0) & (m > 0)
        many = compares & (x + y > rollback.EXACT_UP_TO)
        self._bet_on_many(rows[many], n[many], x[many], m[many], y[many])
        told = np.flatnonzero(compares & ~many)
        if told.size:
            with np.errstate(divide="ignore"):
                kept = np.log(after[told])
            self._bet(rows[told], staked[told], kept, n[told], x[told], m[told], y[told])

    def _step_serious(self, rows: Ints) -> None:
        n, x, m, y = (self.pending[rows, i].astype(np.float64)[:, None] for i in range(4))
        before = self.total[rows, 0] - self.pending[rows, 0]
        spent = self._reserve(before) - self._reserve(before + self.pending[rows, 0])
        ratios, parts = (np.array([bet[i] for bet in rollback.SERIOUS_BETS]) for i in range(2))
        share = n / np.maximum(n + m, 1.0)
        lift = ratios * share + 1.0 - share
        gain = x * np.log(ratios / lift) - y * np.log(lift) - self.config.negligible * (ratios / lift - 1.0) * n
        with np.errstate(divide="ignore"):
            staked = np.logaddexp(self.serious_logs[rows], np.log(spent)[:, None] + np.log(parts))
        self.serious_logs[rows] = staked + np.where((n > 0) & (m > 0), gain, 0.0)

    def _bet_on_many(self, rows: Ints, n: Ints, x: Ints, m: Ints, y: Ints) -> None:
        ratios = np.array([ratio for ratio, _ in self.bets])
        share = (n / np.maximum(n + m, 1))[:, None]
        gain = x[:, None] * np.log(ratios) - (x + y)[:, None] * np.log(ratios * share + 1.0 - share)
        self.rollback_logs[rows] += gain

    def _bet(self, rows: Ints, staked: Floats, kept: Floats, n: Ints, x: Ints, m: Ints, y: Ints) -> None:
        k, chances = _hypergeometric(n, m, x + y)
        ratios = np.log([ratio for ratio, _ in self.bets])
        powers = k[:, :, None] * ratios
        wins = powers - _log_sum(powers + chances[:, :, None], 1)[:, None, :]
        stakes = staked[:, None, :] + wins
        outcomes = np.logaddexp(_log_sum(stakes, 2), kept[:, None])
        seen = (x - k[:, 0])[:, None, None]
        scale = np.zeros(len(rows))
        if self.scales_to_cap:
            prior = np.logaddexp(_log_sum(staked, 1), kept)
            scale = _log_scale(chances, outcomes, prior, -math.log(self.config.alpha_rollback))
        parts = np.log([part for _, part in self.bets])
        with np.errstate(divide="ignore"):
            gain = (np.log(np.expm1(scale)) + kept)[:, None] + parts
        hit = np.take_along_axis(stakes, seen, axis=1)[:, 0, :] + scale[:, None]
        self.rollback_logs[rows] = np.logaddexp(hit, gain)


def _hypergeometric(n: Ints, m: Ints, bad: Ints) -> tuple[Ints, Floats]:
    """((rows, K) counts, (rows, K) log chances); places beyond a row's support have chance 0."""
    first, last = np.maximum(0, bad - m), np.minimum(bad, n)
    k = first[:, None] + np.arange(int((last - first).max()) + 1)
    inside = k <= last[:, None]
    kk = np.where(inside, k, first[:, None])
    log_f = _log_factorials(int((n + m).max()))
    n2, m2, rest = n[:, None], m[:, None], bad[:, None] - kk
    chances = -log_f[kk] - log_f[n2 - kk] - log_f[rest] - log_f[m2 - rest]
    chances = np.where(inside, chances, -np.inf)
    return k, chances - _log_sum(chances, 1)[:, None]


def _log_scale(chances: Floats, outcomes: Floats, before: Floats, cap: float) -> Floats:
    """As `rollback.log_scale_to_cap`, for every row."""
    scale = np.zeros(len(before))
    above = np.isfinite(chances) & (outcomes > cap)
    rows = np.flatnonzero((before < cap) & above.any(axis=1))
    cut = above.argmax(axis=1)
    rows = rows[cut[rows] > 0]
    if not rows.size:
        return scale
    relative = chances - before[:, None]
    tails = np.cumsum(np.exp(relative[:, ::-1] + cap), axis=1)[:, ::-1]
    heads = np.logaddexp.accumulate(relative + np.where(np.isfinite(chances), outcomes, 0.0), axis=1)
    while rows.size:
        at = cut[rows]
        scale[rows] = np.log(1.0 - tails[rows, at]) - heads[rows, at - 1]
        rows = rows[(at > 1) & (scale[rows] + outcomes[rows, at - 1] > cap)]
        cut[rows] -= 1
    return np.maximum(scale, 0.0)
