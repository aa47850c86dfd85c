"""MMD-online with simulated thresholds, after Cobb, Van Looveren and Klaise (AISTATS 2022, arXiv 2108.00883).

The squared maximum mean discrepancy between the references and the last W images, by a Gaussian kernel whose width
is the median distance. The thresholds come from streams that are drawn from the references themselves: among those
that have not yet alarmed, the share 1/run may do so at each step, so that the chance of a false alarm is the same at
every look. After W looks the threshold stays.

Everything is added up in the same order whatever the batches, and not by BLAS (whose threads may differ from pod to
pod), so that a detector which was written down and taken up again gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puzzle_drift.core.detector import Arrays, Look
from puzzle_drift.core.records import Floats, Record, Reference, Refused
from puzzle_drift.core.sizing import MIB, Cost, Plan, plan
from puzzle_drift.core.wanted import DriftSettings

Ints = NDArray[np.int64]
_CHUNK = 128
"""Streams simulated at a time."""
_NULLS = 2_000
"""Simulated statistics that are kept for the p-value."""
_TRIES = 200


def needed(sizes: Plan, dimensions: int = 64) -> int:
    """Bytes at the most while thresholds are simulated."""
    n, extended = sizes.references, 2 * sizes.window - 1
    matrix = 3 * 8 * n * n
    chunk = _CHUNK * (16 * n + 40 * extended * extended)
    streams = 8 * sizes.streams * (sizes.window + 4)
    return 16 * MIB + matrix + chunk + streams + 24 * n * dimensions


LONGEST = 2_000
"""Looks: what a thousand references bear (`benchmarks/drift.py` shows the runs that come of it)."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the simulation of streams without drift gave."""

    values: Floats
    """One for each of the first W looks; the last one stays."""
    nulls: Floats
    """Sorted statistics of streams that never alarmed, at the last of these looks."""


def squared_distances(x: Floats, y: Floats) -> Floats:
    """Between every row of x and every row of y, a row at a time: neither BLAS nor a large temporary."""
    return np.stack([np.square(y - row).sum(axis=1) for row in x])


def kernel_matrix(x: Floats) -> tuple[Floats, float]:
    """The kernel between all references, and its width: 1 / median squared distance."""
    distances = squared_distances(x, x)
    median = float(np.median(distances[np.triu_indices(len(x), 1)]))
    if median <= 0:
        raise Refused("most embeddings of the version's reference are equal: it says nothing about what is normal")
    gamma = 1.0 / median
    return np.exp(-gamma * distances), gamma


def simulate(kernel: Floats, sizes: Plan, rng: np.random.Generator) -> Thresholds:
    """Thresholds from `sizes.streams` streams without drift.

    Raises:
        Refused: when too few streams are left to tell the quantile.
    """
    statistics = np.concatenate(list(streamed(kernel, sizes, rng)))
    values = np.empty(sizes.window)
    for step in range(sizes.window):
        if len(statistics) < sizes.run:
            raise Refused(f"{sizes.streams} simulated streams are too few for a run of {sizes.run:g} looks")
        values[step] = np.quantile(statistics[:, step], 1 - 1 / sizes.run)
        statistics = statistics[statistics[:, step] < values[step]] if step < sizes.window - 1 else statistics
    nulls = np.sort(statistics[:, -1])
    return Thresholds(values, nulls[np.linspace(0, len(nulls) - 1, min(_NULLS, len(nulls))).astype(int)])


def streamed(kernel: Floats, sizes: Plan, rng: np.random.Generator) -> Iterator[Floats]:
    """The statistic of every window of every stream, in chunks [streams, W].

    A stream is 2W - 1 references in random order, held against the others. Sums over the others come from those over
    all, so a stream costs (2W)² and not n².
    """
    n, extended = len(kernel), 2 * sizes.window - 1
    zeroed = kernel - np.diag(np.diag(kernel))
    rows, total = zeroed.sum(axis=1), zeroed.sum()
    for start in range(0, sizes.streams, _CHUNK):
        count = min(_CHUNK, sizes.streams - start)
        drawn = np.argsort(rng.random((count, n)), axis=1)[:, :extended]
        inner = zeroed[drawn[:, :, None], drawn[:, None, :]]
        cross = rows[drawn] - inner.sum(axis=2)
        others = total - 2 * cross.sum(axis=1) - inner.sum(axis=(1, 2))
        yield _windows(inner, cross, others, n - extended, sizes.window)


def _windows(inner: Floats, cross: Floats, others: Floats, rest: int, window: int) -> Floats:
    """Sums over sliding windows by differences of cumulated sums."""
    square = np.zeros((len(inner), inner.shape[1] + 1, inner.shape[2] + 1))
    square[:, 1:, 1:] = inner.cumsum(axis=1).cumsum(axis=2)
    line = np.zeros((len(cross), cross.shape[1] + 1))
    line[:, 1:] = cross.cumsum(axis=1)
    low = np.arange(window)
    high = low + window
    within = square[:, high, high] - square[:, low, high] - square[:, high, low] + square[:, low, low]
    between = line[:, high] - line[:, low]
    found: Floats = (
        others[:, None] / (rest * (rest - 1)) + within / (window * (window - 1)) - 2 * between / (rest * window)
    )
    return found


class MmdOnline:
    """The detector: a window of W embeddings and what the kernel says of them. O(n) for each image."""

    name = "MMD"

    def __init__(self, reference: Reference, arrays: Arrays) -> None:
        self._chosen: Ints = arrays["chosen"]
        self._others = np.ascontiguousarray(reference.embeddings[self._chosen])
        self._squares: Floats = np.square(self._others).sum(axis=1)
        self._thresholds: Floats = arrays["thresholds"]
        self._nulls: Floats = arrays["nulls"]
        self._gamma, self._within_reference = (float(value) for value in arrays["constants"])
        self._looks = int(arrays["looks"][0])
        self._window: Floats = arrays["window"].copy()
        self._inner: Floats = arrays["inner"].copy()
        self._cross: Floats = arrays["cross"].copy()
        if self._others.shape[1] != self._window.shape[1] or len(self._window) != len(self._cross):
            raise ValueError("the state does not fit the reference")

    def usable(self, record: Record) -> bool:
        """It has an embedding of the reference's size, of finite numbers."""
        embedding = record.embedding
        return embedding is not None and len(embedding) == self._others.shape[1] and bool(np.isfinite(embedding).all())

    def look(self, record: Record) -> Look:
        """Shift the window by one image."""
        point = np.array(record.embedding, dtype=np.float64)
        for array in (self._window, self._cross):
            array[:-1] = array[1:].copy()
        self._inner[:-1, :-1] = self._inner[1:, 1:].copy()
        self._window[-1] = point
        self._cross[-1] = self._to_references(point)
        column = np.exp(-self._gamma * np.square(self._window - point).sum(axis=1))
        column[-1] = 0.0
        self._inner[-1, :], self._inner[:, -1] = column, column
        self._looks += 1
        threshold = float(self._thresholds[min(self._looks, len(self._window)) - 1])
        score = statistic(self._within_reference, self._inner, self._cross)
        above = len(self._nulls) - int(np.searchsorted(self._nulls, score, side="left"))
        return Look(score, threshold, score > threshold, (above + 1) / (len(self._nulls) + 1))

    def _to_references(self, point: Floats) -> float:
        """Mean kernel to the references, by |r|² - 2rp + |p|². einsum adds in one thread and one order."""
        distances = self._squares - 2 * np.einsum("ij,j->i", self._others, point) + np.square(point).sum()
        return float(np.exp(-self._gamma * np.maximum(distances, 0.0)).mean())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but the references themselves, which lie in the registry under their hash."""
        return {
            "chosen": self._chosen,
            "thresholds": self._thresholds,
            "nulls": self._nulls,
            "constants": np.array([self._gamma, self._within_reference]),
            "looks": np.array([self._looks]),
            "window": self._window,
            "inner": self._inner,
            "cross": self._cross,
        }


def statistic(within_reference: float, inner: Floats, cross: Floats) -> float:
    """The unbiased estimate of MMD² of a window."""
    size = len(cross)
    return float(within_reference + inner.sum() / (size * (size - 1)) - 2 * cross.mean())


class Builtin:
    """The backend that needs numpy alone."""

    def plan(self, wanted: DriftSettings, reference: Reference, memory: int) -> Plan:
        """Sizes that fit; MMDOnline only."""
        if wanted.detector != "MMDOnline":
            raise Refused(
                f"the builtin backend has no {wanted.detector}: set drift.detector to MMDOnline, or "
                "drift.backend to alibi-detect"
            )
        dimensions = reference.embeddings.shape[1]
        return plan(wanted, reference.size, memory, Cost(lambda sizes: needed(sizes, dimensions), LONGEST))

    def build(self, _wanted: DriftSettings, plan: Plan, reference: Reference, seed: int, /) -> MmdOnline:
        """Choose references, simulate thresholds, and fill the window with references that are in neither."""
        rng = np.random.default_rng(seed)
        picked = np.sort(rng.permutation(reference.size)[: plan.references])
        embeddings = reference.embeddings[picked]
        kernel, gamma = kernel_matrix(embeddings)
        thresholds = simulate(kernel, plan, rng)
        zeroed = kernel - np.diag(np.diag(kernel))
        for _ in range(_TRIES):
            order = rng.permutation(plan.references)
            chosen, first = order[: plan.references - 2 * plan.window + 1], order[-plan.window :]
            within = float(zeroed[np.ix_(chosen, chosen)].sum() / (len(chosen) * (len(chosen) - 1)))
            inner, cross = zeroed[np.ix_(first, first)], kernel[np.ix_(chosen, first)].mean(axis=0)
            if statistic(within, inner, cross) < thresholds.values[0]:
                return MmdOnline(
                    reference,
                    {
                        "chosen": picked[chosen],
                        "thresholds": thresholds.values,
                        "nulls": thresholds.nulls,
                        "constants": np.array([gamma, within]),
                        "looks": np.array([0]),
                        "window": embeddings[first],
                        "inner": inner,
                        "cross": cross,
                    },
                )
        raise Refused(f"no window of references in {_TRIES} is below the threshold: the reference is not of one kind")

    def restore(self, _wanted: DriftSettings, _plan: Plan, reference: Reference, arrays: Arrays, /) -> MmdOnline:
        """From what `arrays` gave."""
        return MmdOnline(reference, arrays)
