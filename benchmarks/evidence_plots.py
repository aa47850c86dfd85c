"""The pictures of docs/evidence.md."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.evidence_promotion import Judged, rollouts
from benchmarks.evidence_streams import World, information_bound, stream
from benchmarks.evidence_twin import Twin
from puzzle_operator.core.evidence import MetricConfig

COLOURS = {
    "ours": "#0b7a75",
    "flagger": "#d1495b",
    "argo": "#edae49",
    "kayenta": "#7a7a7a",
    "z-test": "#5b6fb5",
    "bayes": "#9c6ade",
}


def draw(folder: Path, runs: int, seed: int, alpha: float) -> None:
    """Write evidence-detection.png, evidence-traffic.png, evidence-paths.png and evidence-promotion.png."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    plt.rcParams.update({"figure.dpi": 120, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True})
    _detection(folder / "evidence-detection.png", runs, seed, alpha)
    _traffic(folder / "evidence-traffic.png", runs, seed, alpha)
    _paths(folder / "evidence-paths.png", seed, alpha)
    _promotion(folder / "evidence-promotion.png", runs, seed, alpha)


def _detection(path: Path, runs: int, seed: int, alpha: float) -> None:
    """How many canaries were rolled back by when: a healthy one, and one with 5 % errors."""
    from benchmarks.evidence import run

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, canary, title in zip(
        axes, (0.005, 0.05), ("healthy canary (0.5 % errors)", "bad canary (5 % errors)"), strict=True
    ):
        found = run(World(), canary, runs, seed, alpha)
        minutes = np.arange(0, 61)
        for name, colour in COLOURS.items():
            gone = [100.0 * float((found.first[name] <= minute).mean()) for minute in minutes]
            axis.step(minutes, gone, where="post", color=colour, label=name, lw=2.5 if name == "ours" else 1.3)
        axis.set(title=title, xlabel="minutes", xlim=(0, 60), ylim=(-2, 102))
    axes[1].axvline(information_bound(World(), 0.05, alpha), color="black", ls=":", lw=1)
    axes[1].annotate("information bound", (6, 3), fontsize=8)
    axes[0].set_ylabel("rolled back, % of rollouts")
    axes[0].legend(fontsize=8)
    _save(figure, path)


def _traffic(path: Path, runs: int, seed: int, alpha: float) -> None:
    """False rollbacks and time to detection over traffic."""
    from benchmarks.evidence import run

    rates = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
    fewer = max(runs // 2, 1)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    healthy = [run(replace(World(), rate=rate), 0.005, fewer, seed, alpha) for rate in rates]
    bad = [run(replace(World(), rate=rate), 0.05, fewer, seed, alpha) for rate in rates]
    for name, colour in COLOURS.items():
        width = 2.5 if name == "ours" else 1.3
        axes[0].plot(rates, [100.0 * one.rate(name) for one in healthy], "o-", color=colour, lw=width, ms=3)
        medians = [one.median(name) or math.nan for one in bad]
        axes[1].plot(rates, medians, "o-", color=colour, label=name, lw=width, ms=3)
    axes[0].axhline(100.0 * alpha, color="black", ls=":", lw=1)
    bound = [information_bound(replace(World(), rate=rate), 0.05, alpha) for rate in rates]
    axes[1].plot(rates, np.maximum(bound, 1.0), color="black", ls=":", lw=1, label="bound (at least one look)")
    axes[0].set(title="healthy canaries rolled back", xlabel="requests/s", ylabel="%", xscale="log")
    axes[1].set(title="5 % errors: median time to rollback", xlabel="requests/s", ylabel="minutes")
    axes[1].set(xscale="log", yscale="log")
    axes[1].legend(fontsize=8)
    _save(figure, path)


def _paths(path: Path, seed: int, alpha: float) -> None:
    """Evidence over time of a few rollouts, good, bad, and bad from the 30th minute."""
    figure, axis = plt.subplots(figsize=(7, 4))
    worlds = (
        (World(), 0.005, "healthy", "#7a7a7a"),
        (World(), 0.05, "5 % errors", "#d1495b"),
        (World(from_minute=30), 0.05, "5 % errors from minute 30", "#0b7a75"),
    )
    for world, canary, label, colour in worlds:
        twin = Twin(MetricConfig("errors", alpha_rollback=alpha), 12)
        rows = []
        for look in stream(world, canary, 12, np.random.default_rng(seed)):
            twin.feed(look.added)
            rows.append(twin.log_rollback() / math.log(10.0))
        lines = axis.plot(np.arange(1, 61), np.stack(rows), color=colour, lw=0.9, alpha=0.8)
        lines[0].set_label(label)
    axis.axhline(-math.log10(alpha), color="black", ls=":", lw=1)
    axis.set(xlabel="minutes", ylabel="evidence against the canary, powers of ten", ylim=(-2.5, 6), xlim=(0, 60))
    axis.annotate("roll back", (1, 0.15 - math.log10(alpha)), fontsize=8)
    axis.legend(fontsize=8, loc="upper right")
    _save(figure, path)


def _promotion(path: Path, runs: int, seed: int, alpha: float) -> None:
    """What became of canaries, by how bad they are: ten requests a second, four hours."""
    rates = np.array([0.3, 0.5, 0.6, 0.7, 0.8, 0.95, 1.1, 1.3, 1.6, 2.0]) / 100.0
    config = MetricConfig("errors", alpha_rollback=alpha)
    ends = [rollouts([Judged(config, 0.005, float(rate))], 10.0, 4.0, max(runs // 2, 1), seed) for rate in rates]
    promoted = np.array([100.0 * float(np.isfinite(end.promoted).mean()) for end in ends])
    back = np.array([100.0 * float(np.isfinite(end.rolled_back).mean()) for end in ends])
    figure, axis = plt.subplots(figsize=(7, 4))
    axis.stackplot(
        100.0 * rates,
        promoted,
        100.0 - promoted - back,
        back,
        labels=("promoted", "held", "rolled back"),
        colors=("#0b7a75", "#d9d9d9", "#d1495b"),
    )
    margin = 100.0 * (config.max_risk_ratio * 0.005 + config.negligible)
    axis.axvline(0.5, color="black", lw=1)
    axis.axvline(margin, color="black", ls=":", lw=1)
    axis.annotate("champion", (0.51, 103), fontsize=8, annotation_clip=False)
    axis.annotate("margin", (margin + 0.01, 103), fontsize=8, annotation_clip=False)
    axis.set(xlabel="error rate of the canary, %", ylabel="% of rollouts", ylim=(0, 100), xlim=(0.3, 2.0))
    axis.legend(fontsize=8, loc="center right")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    print(f"wrote {path}")
