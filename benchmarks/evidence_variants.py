"""What was tried before the operator's verdict became what it is: the table of docs/evidence.md.

    python benchmarks/evidence_variants.py [--runs 8000] [--seed 1]

The base scenario of evidence.py at alpha = 0.01. Two variants are there to be refused: they know the
champion's error rate from before the rollout, which is fast, and wrong as soon as that rate moves for both.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.evidence_streams import Look, World, information_bound, stream
from benchmarks.evidence_twin import Twin
from puzzle_operator.core.evidence import MetricConfig

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rule = Callable[[Look], Flags]
CONFIG = MetricConfig("errors")
BOUND = -math.log(CONFIG.alpha_rollback)


def even(*ratios: float) -> tuple[tuple[float, float], ...]:
    """The same stake on every ratio."""
    return tuple((ratio, 1.0 / len(ratios)) for ratio in ratios)


def portfolio(points: int) -> tuple[tuple[float, float], ...]:
    """A universal portfolio: stakes spread evenly over log ratio, from 1.2 to 200."""
    return even(*np.exp(np.linspace(math.log(1.2), math.log(200.0), points)).tolist())


def with_twin(runs: int, **options: object) -> Rule:
    """The operator's evidence with other settings."""
    twin = Twin(CONFIG, runs, **options)  # type: ignore[arg-type]

    def rule(look: Look) -> Flags:
        twin.feed(look.added)
        if look.new_weight:
            twin.settle(np.ones(runs, dtype=bool))
        return twin.fails()

    return rule


def plug_in(runs: int) -> Rule:
    """One bet, on the ratio estimated from the requests so far, drawn towards 4 by one bad request a side."""
    total, log_e = np.zeros((runs, 4)), np.zeros(runs)

    def rule(look: Look) -> Flags:
        nonlocal total, log_e
        n, x, m, y = (look.added[:, i].astype(np.float64) for i in range(4))
        exposure = (total[:, 0] + 1.0) / (total[:, 2] + 9.0)
        ratio = np.clip((total[:, 1] + 1.0) / (total[:, 3] * exposure + 0.25), 1.0, 200.0)
        share = n / np.maximum(n + m, 1.0)
        lift = ratio * share + 1.0 - share
        log_e = log_e + x * np.log(ratio / lift) - y * np.log(lift)
        total = total + look.added
        return np.asarray(log_e >= BOUND)

    return rule


def known_rate(runs: int, bets: tuple[tuple[float, float], ...]) -> Rule:
    """The canary's requests against 0.5 % as a fact; the champion is not looked at."""
    logs = np.log([part for _, part in bets]) + np.zeros((runs, 1))
    rates = np.array([min(0.995, 0.005 * ratio) for ratio, _ in bets])

    def rule(look: Look) -> Flags:
        nonlocal logs
        n, x = look.added[:, :1], look.added[:, 1:2]
        logs = logs + x * np.log(rates / 0.005) + (n - x) * np.log((1.0 - rates) / 0.995)
        return np.asarray(np.logaddexp.reduce(logs, axis=1) >= BOUND)

    return rule


def variants(runs: int) -> dict[str, Rule]:
    """Every variant afresh, the operator's last."""
    plain = {"reserved": 0.0, "scales_to_cap": False, "must_be_serious": False}
    ours = CONFIG.max_risk_ratio**1.5
    ours_bets = ((ours, 0.08), (4.0, 0.3), (9.0, 0.47), (25.0, 0.15))
    return {
        "knows 0.5 % and the ratio 10 (refused)": known_rate(runs, ((10.0, 1.0),)),
        "knows 0.5 %, mixture (refused)": known_rate(runs, ours_bets),
        "one bet, on the true ratio 10": with_twin(runs, bets=((10.0, 1.0),), **plain),
        "one bet, on ratio 4": with_twin(runs, bets=((4.0, 1.0),), **plain),
        "plug-in of the estimated ratio": plug_in(runs),
        "even on 1.25, 1.5, 2, 3, 5, 8": with_twin(runs, bets=even(1.25, 1.5, 2.0, 3.0, 5.0, 8.0), **plain),
        "universal portfolio, 24 ratios": with_twin(runs, bets=portfolio(24), **plain),
        "even on 2, 4, 9, 25": with_twin(runs, bets=even(2.0, 4.0, 9.0, 25.0), **plain),
        "our ratios and stakes": with_twin(runs, bets=ours_bets, **plain),
        "  and a reserve": with_twin(runs, scales_to_cap=False, must_be_serious=False),
        "  and no overshoot": with_twin(runs, must_be_serious=False),
        "  and serious = the operator's": with_twin(runs),
    }


def first(world: World, canary: float, runs: int, seed: int) -> dict[str, Floats]:
    """(runs,) minute of rollback by variant, infinite where there is none."""
    rng = np.random.default_rng([seed, round(canary * 1e6)])
    panel = variants(runs)
    found = {name: np.full(runs, math.inf) for name in panel}
    for look in stream(world, canary, runs, rng):
        for name, rule in panel.items():
            new = rule(look) & np.isinf(found[name])
            found[name][new] = look.minute
    return found


def show_blocks(runs: int, seed: int) -> None:
    """Print what the size of a block does when scrapes come each 5 seconds and looks each minute."""
    print(f"\n{'scrapes each 5 s, blocks of':40} {'false':>7} {'5 %:':>6} {'by':>6} {'2 %:':>6}")
    print(f"{'':40} {'':>7} {'mean':>6} {'8 min':>6} {'found':>6}")
    for block in (1, 3, 5, 10, 20):
        config = replace(CONFIG, block=block, block_scrapes=1000)
        healthy, five, two = (_by_scrape(config, rate, runs, seed) for rate in (0.005, 0.05, 0.02))
        print(
            f"{block:40} {100 * np.isfinite(healthy).mean():5.2f} % {np.minimum(five, 60).mean():6.2f} "
            f"{100 * (five <= 8).mean():4.1f} % {100 * np.isfinite(two).mean():4.1f} %"
        )


def _by_scrape(config: MetricConfig, canary: float, runs: int, seed: int) -> Floats:
    """(runs,) minute of rollback in the base world."""
    rng = np.random.default_rng([seed, round(canary * 1e6)])
    world, twin = World(), Twin(config, runs)
    found = np.full(runs, math.inf)
    for look in range(world.looks):
        for _ in range(12):
            total = rng.poisson(world.rate * 5.0, runs)
            n = rng.binomial(total, world.weight(look))
            bad = rng.binomial(n, canary), rng.binomial(total - n, world.champion)
            twin.feed(np.stack([n, bad[0], total - n, bad[1]], axis=1))
        found[twin.fails() & np.isinf(found)] = look + 1
        if look + 1 < world.looks and world.weight(look + 1) != world.weight(look):
            twin.settle(np.ones(runs, dtype=bool))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=8000, help="simulated rollouts of each canary (8000)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (1)")
    options = parser.parse_args()
    base = World()
    # The champion's rate was 0.5 % when it was learnt; on the day of the rollout both have 1 %.
    moved = replace(base, champion=0.01)
    healthy, five, two = (first(base, rate, options.runs, options.seed) for rate in (0.005, 0.05, 0.02))
    late = first(replace(base, from_minute=30), 0.05, options.runs, options.seed)
    drifted = first(moved, 0.01, options.runs, options.seed)
    print(f"information bound at 5 %: {information_bound(base, 0.05, CONFIG.alpha_rollback):.2f} min")
    print(f"{'':40} {'false':>7} {'false,':>7} {'5 %:':>6} {'by':>6} {'2 %:':>6} {'5 % from':>9}")
    print(f"{'':40} {'':>7} {'moved':>7} {'mean':>6} {'8 min':>6} {'found':>6} {'30 min':>9}")
    for name in healthy:
        after = np.where(late[name] > 30, late[name] - 30, math.inf)
        print(
            f"{name:40} {100 * np.isfinite(healthy[name]).mean():5.2f} % "
            f"{100 * np.isfinite(drifted[name]).mean():5.1f} % {np.minimum(five[name], 60).mean():6.2f} "
            f"{100 * (five[name] <= 8).mean():4.1f} % {100 * np.isfinite(two[name]).mean():4.1f} % "
            f"{np.median(after):5.1f} min"
        )
    show_blocks(max(options.runs // 2, 1), options.seed)


if __name__ == "__main__":
    main()
