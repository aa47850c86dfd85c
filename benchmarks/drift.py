"""Detection delay against false alarms, on streams in the order of a line, and what a detector costs.

    python benchmarks/drift.py [--quick] [--seed 1] [--json] [--without-alibi]
    python benchmarks/drift.py --run RUN --line1 PIECES --line2 PIECES     # embeddings of a trained PuzzleNet

A line's images are not independent: pieces of a class come in runs, light and focus wander. The simulated streams
have six classes in runs of ten images on average and a common AR(1) disturbance; the reference is drawn from the same
distribution, shuffled, as held-out pieces are. `independent` streams have neither, which is what the theory assumes.

A detector starts again after each of its alarms; false alarms are counted over all streams without drift, delays from
the first image with drift. The baselines look once a "day" of 2,000 images, as is usual: Kolmogorov and Smirnov's test
of each of the 64 numbers with Bonferroni at 5 %, and the population stability index, at its usual limit of 0.2. What
is measured in µs is CPU time, which hardly depends on what else runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import ks_2samp

from puzzle_drift.adapters import alibi
from puzzle_drift.core.alarm import Phase
from puzzle_drift.core.detector import Backend
from puzzle_drift.core.mmd import Builtin
from puzzle_drift.core.records import Record, Reference
from puzzle_drift.core.wanted import DriftSettings
from puzzle_drift.core.watch import Watch, begin, resume

Floats = NDArray[np.float64]
DIMENSIONS, CLASSES, PIECES, DAY = 64, 6, 1_000, 2_000
ENOUGH = 1 << 34
SHIFTS = {"slight": 0.15, "medium": 0.3, "strong": 1.0}
"""Of every number of the embedding, in standard deviations of the noise within a class."""


@dataclass(frozen=True)
class World:
    """Where the streams of one seed come from."""

    centres: Floats
    direction: Floats

    @classmethod
    def of(cls, seed: int) -> World:
        rng = np.random.default_rng(seed)
        return cls(rng.normal(size=(CLASSES, DIMENSIONS)), rng.choice([-1.0, 1.0], DIMENSIONS))

    def stream(self, count: int, rng: np.random.Generator, *, ordered: bool, shift: float = 0.0) -> Floats:
        """Embeddings in their order."""
        classes = rng.integers(0, CLASSES, count)
        common = rng.normal(size=(count, 4)) * 0.5
        if ordered:
            fresh = np.flatnonzero(np.append(True, rng.random(count - 1) < 0.1))
            classes = np.repeat(classes[: len(fresh)], np.diff(np.append(fresh, count)))
            common = np.asarray(lfilter([np.sqrt(1 - 0.95**2)], [1, -0.95], common, axis=0))
        noise = rng.normal(size=(count, DIMENSIONS))
        spread = np.repeat(common, DIMENSIONS // 4, axis=1)
        found: Floats = self.centres[classes] + noise + spread + shift * self.direction
        return found

    def reference(self, rng: np.random.Generator) -> Reference:
        """Shuffled pieces of an ordered stream of all days."""
        points = self.stream(PIECES * 20, rng, ordered=True)[rng.permutation(PIECES * 20)[:PIECES]]
        return reference_of(points)


def reference_of(points: Floats) -> Reference:
    """Only the embeddings matter here."""
    shares = np.tile([0.95, 0.05], (len(points), 1))
    return Reference("00" * 32, np.ascontiguousarray(points), shares, np.ones(len(points), dtype=np.bool_))


def records(points: Floats) -> Iterator[Record]:
    """As the worker reads them."""
    for seq, point in enumerate(points, 1):
        yield Record(seq, "2026-11-24T12:00:00+00:00", "ok", None, 0.95, (0.95, 0.05), tuple(point.tolist()))


class Arm(Protocol):
    """A detector in the benchmark."""

    name: str

    def alarms(self, points: Floats) -> tuple[list[int], list[int]]:
        """Images, from 1, at which it suspected and at which it alarmed; it starts again after each alarm."""


class Watched:
    """The project's own code, with one of the backends."""

    def __init__(self, backend: str, make: Callable[[], Backend], detector: str, images: int, reference: Reference):
        self.name = f"{backend} {detector} {images:,}"
        self.wanted = DriftSettings(backend, detector, images, confirm_windows=3)
        self.reference, self.make = reference, make()
        before, peak_before = time.process_time(), _peak()
        watch = begin(self.wanted, reference, self.make, ENOUGH, seed=1)
        self.setup_s = time.process_time() - before
        self.setup_mib = (_peak() - peak_before) / 2**20
        self.fresh, self.plan = watch.state(), watch.plan

    def begin(self) -> Watch:
        """A new watch with the thresholds that are there."""
        return resume(self.wanted, self.reference, self.make, self.fresh)

    def alarms(self, points: Floats) -> tuple[list[int], list[int]]:
        return self.alarms_of(records(points))

    def alarms_of(self, found: Iterable[Record]) -> tuple[list[int], list[int]]:
        """The same on records, of which each detector looks at something else."""
        suspected, confirmed, watch, before = [], [], self.begin(), Phase.COLLECTING
        for record in found:
            watch.fold((record,))
            phase = watch.alarm.phase
            if phase in (Phase.SUSPECTED, Phase.CONFIRMED) and before not in (Phase.SUSPECTED, Phase.CONFIRMED):
                suspected.append(record.seq)
            if phase is Phase.CONFIRMED:
                confirmed.append(record.seq)
                watch, phase = self.begin(), Phase.COLLECTING
            before = phase
        return suspected, confirmed

    def cost(self, points: Floats) -> dict[str, float]:
        """CPU of an image (most are not looked at), and of a look."""
        found, watch = list(records(points)), self.begin()
        before = time.process_time()
        watch.fold(found)
        took = time.process_time() - before
        return {
            "setup_cpu_s": round(self.setup_s, 2),
            "setup_mib": round(self.setup_mib, 1),
            "references": self.plan.references,
            "streams": self.plan.streams,
            "stride": self.plan.stride,
            "state_kib": round(len(watch.state()) / 1024, 1),
            "us_per_image": round(1e6 * took / len(found), 1),
            "us_per_look": round(1e6 * took / max(1, watch.tally.looked), 1),
        }


class Daily:
    """A baseline: one test for every day of images."""

    def __init__(self, name: str, exceeds: Callable[[Floats, Floats], bool], reference: Reference) -> None:
        self.name, self._exceeds, self._reference = f"daily {name}", exceeds, reference.embeddings

    def alarms(self, points: Floats) -> tuple[list[int], list[int]]:
        ends = range(DAY, len(points) + 1, DAY)
        found = [end for end in ends if self._exceeds(self._reference, points[end - DAY : end])]
        return found, found


def ks(reference: Floats, day: Floats) -> bool:
    """Bonferroni over the numbers, 5 %."""
    least = min(ks_2samp(reference[:, n], day[:, n], method="asymp").pvalue for n in range(reference.shape[1]))
    return bool(least * reference.shape[1] < 0.05)


def psi(reference: Floats, day: Floats) -> bool:
    """Any number's index over ten bins of the reference is above 0.2."""
    for column in range(reference.shape[1]):
        edges = np.quantile(reference[:, column], np.linspace(0, 1, 11)[1:-1])
        shares = [
            np.maximum(np.bincount(np.searchsorted(edges, values), minlength=10) / len(values), 1e-4)
            for values in (reference[:, column], day[:, column])
        ]
        if float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()) > 0.2:
            return True
    return False


def _peak() -> int:
    """Bytes of resident memory at most so far. Of the setup only what exceeds it counts: small ones may show 0."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def arms_for(reference: Reference, with_alibi: bool, quick: bool) -> list[Arm]:
    """What is compared."""
    runs = (2_000, 20_000) if quick else (2_000, 20_000, 200_000)
    arms: list[Arm] = []
    for images in runs:
        _reset_peak()
        arms.append(Watched("builtin", Builtin, "MMDOnline", images, reference))
    for images in runs[:2] if with_alibi else ():
        _reset_peak()
        arms.append(Watched("alibi-detect", alibi.backend, "MMDOnline", images, reference))
    return [*arms, Daily("KS", ks, reference), Daily("PSI", psi, reference)]


@dataclass(frozen=True)
class FalseAlarms:
    """Of one arm on streams without drift."""

    arm: str
    stream: str
    images: int
    suspected: int
    alarms: int


@dataclass(frozen=True)
class Delay:
    """Of one arm after a shift; None where too few streams were found out."""

    arm: str
    shift: str
    streams: int
    found: int
    suspected_after: int | None
    alarm_after: int | None


def simulated(seed: int, quick: bool, with_alibi: bool) -> dict[str, list[dict[str, object]]]:
    """Everything on simulated streams."""
    world, rng = World.of(seed), np.random.default_rng(seed + 1)
    arms = arms_for(world.reference(rng), with_alibi, quick)
    images, streams, horizon = (20_000, 3, 10_000) if quick else (60_000, 5, 10_000)
    calm = {name: world.stream(images, rng, ordered=name == "ordered") for name in ("independent", "ordered")}
    false = []
    for arm in arms:
        for name, points in calm.items():
            suspected, alarms = arm.alarms(points)
            false.append(FalseAlarms(arm.name, name, images, len(suspected), len(alarms)))
        note(f"{arm.name}: {[(row.suspected, row.alarms) for row in false[-2:]]} without drift")
    delays = []
    for name, shift in SHIFTS.items():
        drifting = [_shifted(world, seed, number, shift, horizon) for number in range(streams)]
        delays += [_delay(arm, name, drifting) for arm in arms]
    costs = [
        {"arm": arm.name, **arm.cost(world.stream(2_000, rng, ordered=True))}
        for arm in arms
        if isinstance(arm, Watched)
    ]
    return {"false_alarms": [asdict(row) for row in false], "delays": [asdict(row) for row in delays], "costs": costs}


def _shifted(world: World, seed: int, number: int, shift: float, horizon: int) -> tuple[int, Floats]:
    """A day without drift and part of another one, then drift: the baselines' day does not begin with it."""
    rng = np.random.default_rng((seed, number, round(100 * shift)))
    before = int(rng.integers(DAY, 2 * DAY))
    parts = world.stream(before, rng, ordered=True), world.stream(horizon, rng, ordered=True, shift=shift)
    return before, np.concatenate(parts)


def _delay(arm: Arm, name: str, streams: list[tuple[int, Floats]]) -> Delay:
    """Medians over streams; an alarm before the drift counts for nothing."""
    firsts: list[tuple[float, float]] = []
    for before, points in streams:
        suspected, alarms = arm.alarms(points)
        alarm = min((image - before for image in alarms if image > before), default=np.inf)
        suspicion = min((image - before for image in suspected if image > before), default=np.inf)
        firsts.append((suspicion, alarm))
    medians = [float(np.median(column)) for column in zip(*firsts, strict=True)]
    found = sum(np.isfinite(alarm) for _, alarm in firsts)
    note(f"{arm.name}: {name} shift, {found} of {len(streams)} after {medians}")
    return Delay(
        arm.name, name, len(streams), found, *(int(median) if np.isfinite(median) else None for median in medians)
    )


def embedded(run: Path, pieces: Path) -> Floats:
    """What a trained network makes of a folder of pieces, in an order that is mixed but always the same."""
    from puzzlenet.dataset import open_dataset
    from puzzlenet.records.observed import ObservedPredictor

    predictor = ObservedPredictor.load(run)
    dataset = open_dataset(pieces, classes=predictor.config.classes)
    predictor.probabilities(dataset.pixels(predictor.config.image_size))
    points = np.asarray(predictor.embeddings, dtype=np.float64)
    mixed: Floats = points[np.random.default_rng(0).permutation(len(points))]
    return mixed


def real(run: Path, line1: Path, line2: Path, with_alibi: bool) -> dict[str, list[dict[str, object]]]:
    """Line 1 is the reference and the stream without drift; then line 2 begins."""
    first, second = embedded(run, line1), embedded(run, line2)
    half = min(PIECES, len(first) // 2)
    reference, calm = reference_of(first[:half]), first[half:]
    rows: list[dict[str, object]] = []
    arms: list[Watched] = [Watched("builtin", Builtin, "MMDOnline", 2_000, reference)]
    if with_alibi:
        arms.append(Watched("alibi-detect", alibi.backend, "MMDOnline", 2_000, reference))
    for arm in arms:
        suspected, alarms = arm.alarms(calm)
        after_suspected, after = arm.alarms(np.concatenate([calm[-200:], second]))
        rows.append(
            {
                "arm": arm.name,
                "references": half,
                "line1_images": len(calm),
                "line1_suspected": len(suspected),
                "line1_alarms": len(alarms),
                "line2_suspected_after": next((n - 200 for n in after_suspected if n > 200), None),
                "line2_alarm_after": next((n - 200 for n in after if n > 200), None),
            }
        )
    return {"puzzlenet": rows}


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(tables: dict[str, list[dict[str, object]]]) -> None:
    """As tables for a page of documentation."""
    for title, rows in tables.items():
        names = list(rows[0])
        print(f"\n{title}\n\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")
        for row in rows:
            cells = (
                "–" if row[name] is None else f"{row[name]:,}" if isinstance(row[name], int) else row[name]
                for name in names
            )
            print(f"| {' | '.join(map(str, cells))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="short streams: a minute of CPU instead of several")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--without-alibi", action="store_true", help="only the built-in detector and the baselines")
    parser.add_argument("--run", type=Path, help="folder of a trained network; with --line1 and --line2")
    parser.add_argument("--line1", type=Path, help="pieces as it was trained on, but not those: puzzlenet generate")
    parser.add_argument("--line2", type=Path, help="pieces of another line")
    given = parser.parse_args()
    places = given.run, given.line1, given.line2
    if any(places) and not all(places):
        parser.error("--run, --line1 and --line2 go together")
    with_alibi = not given.without_alibi
    tables = real(*places, with_alibi) if all(places) else simulated(given.seed, given.quick, with_alibi)
    print(json.dumps(tables, indent=2)) if given.json else show(tables)


if __name__ == "__main__":
    main()
