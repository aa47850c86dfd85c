"""How large a detector may be, decided before anything is allocated.

Memory grows with the references (kernel matrix), the simulated streams and the window. What does not fit is made
smaller, references last; what does not fit even then is refused in a sentence. Run lengths of days are reached by
looking at every k-th image only: a run of n looks needs thresholds at the quantile 1 - 1/n, hence many more than n
simulated streams and about as many references.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from puzzle_drift.core.records import Refused
from puzzle_drift.core.wanted import DriftSettings

MIB = 1 << 20
SMALLEST = 100
"""References without which no threshold is worth anything."""
STREAMS_PER_LOOK = 10
"""Simulated streams for each look of the expected run; alibi-detect's advice too."""
SPREAD = 10
"""Images from one look to the next, where the run is long enough. Neighbours on a line are alike (runs of a class,
light, focus) and thresholds take looks for independent: without this, `benchmarks/drift.py` counts forty times as
many false alarms as asked for."""
FAIR = 200
"""Looks of a run that are not given up for it."""
SHORTEST = 50
"""Looks of an expected run: shorter ones are false alarms by design."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one detector. They are stored with its state and not changed afterwards."""

    references: int
    window: int
    run: float
    """Expected looks between two false alarms."""
    streams: int
    stride: int
    """Every so-many-th image is looked at."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a kind of detector costs and bears."""

    memory: Callable[[Plan], int]
    """Bytes while the thresholds are simulated, the most that it ever needs."""
    longest: int
    """Looks of the longest run it is asked for."""
    windows: bool = False
    """It looks at windows as a whole rather than at every image."""
    window: int = 20


def window_of(references: int, usual: int) -> int:
    """Twice the window less one is taken out of the references for every simulated stream."""
    return max(5, min(usual, references // 10))


def plan(wanted: DriftSettings, available: int, memory: int, cost: Cost) -> Plan:
    """The largest detector that fits.

    Raises:
        Refused: too few references, a run that is too short, or too little memory, with the numbers.
    """
    if available < SMALLEST:
        raise Refused(
            f"the version's reference has {available} pieces and a threshold needs at least {SMALLEST}: "
            "package the version with more validation pieces"
        )
    if wanted.expected_run_images < SHORTEST:
        raise Refused(
            f"drift.expected_run_images is {wanted.expected_run_images}: below {SHORTEST} images between false "
            "alarms there would be nothing but false alarms"
        )
    if cost.windows and wanted.expected_run_images < 10 * window_of(available, cost.window):
        raise Refused(
            f"drift.expected_run_images is {wanted.expected_run_images}: {wanted.detector} looks at windows of "
            f"{window_of(available, cost.window)} images and needs a run of at least ten of them"
        )
    smallest = None
    for references in _shrinking(available):
        for longest in (cost.longest, cost.longest // 2, cost.longest // 4, 200, SHORTEST):
            smallest = _sized(wanted, references, min(longest, cost.longest), cost)
            if cost.memory(smallest) <= memory:
                return smallest
    assert smallest is not None  # noqa: S101 - both loops ran
    raise Refused(
        f"a detector with {smallest.references} references and {smallest.streams} simulated streams needs "
        f"{math.ceil(cost.memory(smallest) / MIB)} MiB and {max(0, memory) // MIB} MiB are free: "
        "raise the memory limit of the drift worker"
    )


def _shrinking(available: int) -> tuple[int, ...]:
    sizes = (available, 1_000, 700, 500, 300, 200, SMALLEST)
    return tuple(sorted({size for size in sizes if size <= min(available, 1_000)}, reverse=True))


def _sized(wanted: DriftSettings, references: int, longest: int, cost: Cost) -> Plan:
    window = window_of(references, cost.window)
    images = wanted.expected_run_images
    if cost.windows:
        stride = max(math.ceil(images / (longest * window)), min(SPREAD, images // (20 * window)), 1)
        return Plan(references, window, max(1.0, images / stride / window), 0, stride)
    stride = max(math.ceil(images / longest), min(SPREAD, images // FAIR), 1)
    run = images / stride
    return Plan(references, window, run, math.ceil(STREAMS_PER_LOOK * max(run, window)), stride)
