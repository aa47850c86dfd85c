"""The operator's verdict against other rules, on the same traffic.

    python benchmarks/evidence.py [--runs 4000] [--seed 1] [--alpha 0.01] [--json] [--all] [--plots docs/img]

Without options: base error 0.5 %, 2 requests/s, weights 10/25/50 % over one hour, a look each minute; healthy
canaries and such with 2, 5 and 20 % errors. --all adds traffic rates, bursts, a day's cycle, an outage of
Prometheus, a fault that begins late, and promotion; --plots draws. Every number of docs/evidence.md comes from here.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.evidence_peers import first_fails, judges
from benchmarks.evidence_promotion import Judged, Outcome, rollouts
from benchmarks.evidence_streams import World, information_bound, stream
from puzzle_operator.core.evidence import MetricConfig

Floats = NDArray[np.float64]
BASE = World()
FAULTS = (0.02, 0.05, 0.20)
NAMES = ("ours", "flagger", "argo", "kayenta", "z-test", "bayes")
# A day takes 24 times the looks of an hour, 200 requests/s a hundred times the requests.
WORLDS = (
    replace(BASE, name="0.5 req/s", rate=0.5),
    BASE,
    replace(BASE, name="10 req/s", rate=10.0),
    replace(BASE, name="50 req/s", rate=50.0),
    replace(BASE, name="200 req/s", rate=200.0),
    replace(BASE, name="bursts of 10", bursts=10.0),
    replace(BASE, name="a day's cycle", rate=0.5, minutes=1440, look=5, daily=True),
    replace(BASE, name="10 min outage", outage=(5, 15)),
    replace(BASE, name="fault after 30 min", from_minute=30),
)


@dataclass(frozen=True)
class Result:
    """Minutes until rollback of every run, by judge, of one canary in one world."""

    world: World
    canary: float
    first: dict[str, Floats]

    def rate(self, judge: str) -> float:
        """Part of the runs that were rolled back."""
        return float(np.isfinite(self.first[judge]).mean())

    def median(self, judge: str) -> float | None:
        """Median minutes from the start of the fault until rollback; None when most were not rolled back.

        Rollbacks from before the fault are false alarms and count as not detected.
        """
        after = np.where(self.first[judge] > self.world.from_minute, self.first[judge], math.inf)
        middle = float(np.median(after)) - self.world.from_minute
        return middle if math.isfinite(middle) else None


def run(world: World, canary: float, runs: int, seed: int, alpha: float, names: Sequence[str] = NAMES) -> Result:
    """Show `runs` rollouts to every judge named."""
    rng = np.random.default_rng([seed, round(canary * 1e6)])
    panel = {name: judge for name, judge in judges(runs, alpha, world.minutes).items() if name in names}
    fails: dict[str, list[tuple[int, NDArray[np.bool_]]]] = {name: [] for name in panel}
    for look in stream(world, canary, runs, rng):
        for name, judge in panel.items():
            fails[name].append((look.minute, judge.feed(look)))
    return Result(world, canary, {name: first_fails(seen, runs) for name, seen in fails.items()})


def summary(
    world: World, runs: int, seed: int, alpha: float, names: Sequence[str] = NAMES
) -> dict[str, dict[str, float | None]]:
    """The four numbers of every judge in one world, and the power behind the medians."""
    healthy = run(world, world.champion, runs, seed, alpha, names)
    two, five = (run(world, fault, runs, seed, alpha, names) for fault in (0.02, 0.05))
    bound = information_bound(replace(world, from_minute=0), 0.05, alpha)
    found: dict[str, dict[str, float | None]] = {}
    for name in names:
        median = five.median(name)
        found[name] = {
            "healthy_rollback_rate": healthy.rate(name),
            "median_minutes_at_5pct": median,
            "median_minutes_at_2pct": two.median(name),
            "wald_ratio_at_5pct": median / bound if median is not None and bound > 0 else None,
            "power_at_5pct": five.rate(name),
            "power_at_2pct": two.rate(name),
        }
    return found


def show(world: World, found: dict[str, dict[str, float | None]], runs: int, alpha: float) -> None:
    """Print one world as a table."""
    bound = information_bound(replace(world, from_minute=0), 0.05, alpha)
    print(
        f"\n{world.name}: {world.rate:g} requests/s, {world.minutes} min, a look each {world.look} min, alpha "
        f"{alpha:g}, {runs} runs; information bound at 5 %: {bound:.1f} min"
    )
    print(f"{'':9} {'healthy':>12} {'2 % errors':>22} {'5 % errors':>22} {'x the':>7}")
    print(f"{'':9} {'rolled back':>12} {'found':>10} {'median':>11} {'found':>10} {'median':>11} {'bound':>7}")
    for name, values in found.items():
        print(
            f"{name:9} {_percent(values['healthy_rollback_rate']):>12} {_percent(values['power_at_2pct']):>10} "
            f"{_minutes(values['median_minutes_at_2pct']):>11} {_percent(values['power_at_5pct']):>10} "
            f"{_minutes(values['median_minutes_at_5pct']):>11} {_ratio(values['wald_ratio_at_5pct']):>7}"
        )


# (champion, canary, requests/s, hours)
PROMOTIONS = (
    (0.005, 0.005, 10.0, 1.0),
    (0.005, 0.005, 0.5, 24.0),
    (0.0, 0.0, 10.0, 1.0),
    (0.0, 0.0, 0.5, 24.0),
    (0.005, 0.006, 10.0, 4.0),
    (0.005, 0.0075, 10.0, 4.0),
    (0.005, 0.0095, 10.0, 4.0),
    (0.005, 0.012, 10.0, 4.0),
    (0.005, 0.02, 10.0, 4.0),
    (0.0, 0.001, 10.0, 4.0),
    (0.0, 0.002, 10.0, 4.0),
    (0.0, 0.004, 10.0, 4.0),
)


def show_promotion(runs: int, seed: int, alpha: float) -> None:
    """Print how fast healthy canaries are promoted, and what slips through."""
    print("\npromotion: steps 10/25/50 %, maxRiskRatio 1.5, negligible 0.2 %; error rates of champion -> canary")
    print(f"{'':34} {'promoted':>9} {'median':>9} {'9 of 10':>9} {'rolled back':>12}")
    config = MetricConfig("errors", alpha_rollback=alpha)
    for champion, canary, rate, hours in PROMOTIONS:
        label = f"{100 * champion:4.1f} % -> {100 * canary:5.2f} %, {rate:4g} req/s, {hours:3g} h"
        _row(label, rollouts([Judged(config, champion, canary)], rate, hours, runs, seed))
    halved = replace(config, alpha_rollback=alpha / 2.0)
    both = [Judged(halved, 0.005, 0.005), Judged(replace(halved, max_risk_ratio=2.0), 0.01, 0.01)]
    print("default spec: errors 0.5 % (maxRiskRatio 1.5) and slow requests 1 % (2), healthy, both have to pass")
    _row("10 req/s, 1 h", rollouts(both, 10.0, 1.0, runs, seed))
    _row("0.5 req/s, 24 h", rollouts(both, 0.5, 24.0, runs, seed))


def _row(label: str, end: Outcome) -> None:
    ordered = np.sort(end.promoted)
    print(
        f"{label:34} {_percent(float(np.isfinite(ordered).mean())):>9} "
        f"{_minutes(float(ordered[len(ordered) // 2])):>9} {_minutes(float(ordered[len(ordered) * 9 // 10])):>9} "
        f"{_percent(float(np.isfinite(end.rolled_back).mean())):>12}"
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %" if value < 0.0995 else f"{100 * value:.0f} %"


def _minutes(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:g} min"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=4000, help="simulated rollouts of each canary (4000)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (1)")
    parser.add_argument("--alpha", type=float, default=0.01, help="chance that a healthy canary is rolled back")
    parser.add_argument("--json", action="store_true", help="print the base scenario as JSON and nothing else")
    parser.add_argument("--all", action="store_true", help="all scenarios, with a quarter of the runs")
    parser.add_argument("--promotion", action="store_true", help="time to promotion, with a quarter of the runs")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw evidence-*.png into this folder")
    options = parser.parse_args(given)
    if options.runs < 1 or not 0.0 < options.alpha < 1.0:
        parser.error("--runs must be at least 1, and --alpha between 0 and 1")
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    base = summary(BASE, options.runs, options.seed, options.alpha)
    if options.json:
        print(json.dumps(base, indent=2))
        return
    show(BASE, base, options.runs, options.alpha)
    fewer = max(options.runs // 4, 1)
    if options.all:
        for world in WORLDS:
            if world is not BASE:
                show(world, summary(world, fewer, options.seed, options.alpha), fewer, options.alpha)
    if options.all or options.promotion:
        show_promotion(fewer, options.seed, options.alpha)
    if options.plots:
        from benchmarks.evidence_plots import draw

        draw(options.plots, fewer, options.seed, options.alpha)


if __name__ == "__main__":
    main()
