"""Which detector sees which kind of change, and after how many images.

    python -m benchmarks.drift_kinds [--quick] [--seed 1] [--run-images 2000] [--json] [--without-alibi]

A line of six classes as in `drift.py`, and a network that is the best there can be for it: probabilities are Gauss'
posteriors, and about 5 % of its images are wrong. Then one thing changes:

- light: every number of the embedding is shifted, by so many standard deviations of the noise within a class
- blur: pieces look more alike, their classes' centres move together to such a share of their distance
- mix: one class makes up such a share of the images, and no longer a sixth
- naming: of the images of one class such a share is now called by another name; they look as before

Every image has its label. Streams are ordered as on a line. A detector starts again after each of its alarms. Delays
are from the first image of the change to the confirmed alarm.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift import CLASSES, DIMENSIONS, PIECES, Floats, Watched, World, note, show
from puzzle_drift.adapters import alibi
from puzzle_drift.core.mmd import Builtin
from puzzle_drift.core.records import Record, Reference

NAMES = tuple("abcdef")
BEFORE, HORIZON = (2_000, 4_000), 10_000
SCALE = 0.45
"""Of the distance of the centres: where a good network is right for 95 of 100."""


@dataclass(frozen=True)
class Change:
    """What changes. The defaults change nothing."""

    kind: str = "none"
    size: str = ""
    light: float = 0.0
    blur: float = 1.0
    mix: float = 1 / CLASSES
    naming: float = 0.0


CHANGES = (
    Change("light", "0.15", light=0.15),
    Change("light", "0.5", light=0.5),
    Change("blur", "0.85", blur=0.85),
    Change("blur", "0.5", blur=0.5),
    Change("mix", "0.3", mix=0.3),
    Change("mix", "0.6", mix=0.6),
    Change("naming", "0.3", naming=0.3),
    Change("naming", "0.9", naming=0.9),
)


@dataclass(frozen=True)
class Images:
    """What the network says of a stream, and what people say."""

    embeddings: Floats
    probabilities: Floats
    truth: NDArray[np.intp]

    @property
    def correct(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.truth
        return found

    def pick(self, which: NDArray[np.intp] | slice) -> Images:
        return Images(self.embeddings[which], self.probabilities[which], self.truth[which])

    def then(self, other: Images) -> Images:
        return Images(
            np.concatenate((self.embeddings, other.embeddings)),
            np.concatenate((self.probabilities, other.probabilities)),
            np.concatenate((self.truth, other.truth)),
        )

    def records(self) -> Iterator[Record]:
        """As the worker reads them."""
        labels, confidence = self.probabilities.argmax(axis=1), self.probabilities.max(axis=1)
        for n in range(len(self.truth)):
            probabilities = tuple(self.probabilities[n].tolist())
            embedding = tuple(self.embeddings[n].tolist())
            names = NAMES[labels[n]], NAMES[self.truth[n]]
            yield Record(n + 1, "2026-11-25T12:00:00+00:00", *names, float(confidence[n]), probabilities, embedding)


class Line:
    """The world and its network."""

    def __init__(self, seed: int) -> None:
        world = World.of(seed)
        self.centres, self.direction = SCALE * world.centres, world.direction
        # What the noise of `stream` is like within a class: of its own, and in common to a quarter of the numbers.
        covariance = np.eye(DIMENSIONS) + 0.25 * np.kron(np.eye(4), np.ones((DIMENSIONS // 4, DIMENSIONS // 4)))
        self.weights = np.linalg.solve(covariance, self.centres.T)
        self.bias = -0.5 * (self.centres * self.weights.T).sum(axis=1)

    def images(self, count: int, rng: np.random.Generator, change: Change) -> Images:
        """A stream in its order, during the change."""
        shares = np.full(CLASSES, (1 - change.mix) / (CLASSES - 1))
        shares[0] = change.mix
        fresh = np.append(True, rng.random(count - 1) < 0.1)
        classes = rng.choice(CLASSES, size=int(fresh.sum()), p=shares)[np.cumsum(fresh) - 1]
        middle = self.centres.mean(axis=0)
        points = middle + change.blur * (self.centres[classes] - middle) + self._noise(count, rng)
        points += change.light * self.direction
        truth = np.where((classes == 0) & (rng.random(count) < change.naming), 1, classes)
        return Images(points, self._probabilities(points), truth)

    def _noise(self, count: int, rng: np.random.Generator) -> Floats:
        """Of its own for each image, and one that wanders: centres of zero leave only that."""
        calm = World(np.zeros((CLASSES, DIMENSIONS)), self.direction)
        return calm.stream(count, rng, ordered=True)

    def _probabilities(self, points: Floats) -> Floats:
        scores = points @ self.weights + self.bias
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        # To the seven digits that records carry.
        found: Floats = np.round(powers / powers.sum(axis=1, keepdims=True), 7)
        return found

    def reference(self, rng: np.random.Generator) -> Reference:
        """Shuffled pieces of an ordered stream of all days."""
        drawn = self.images(PIECES * 20, rng, Change()).pick(rng.permutation(PIECES * 20)[:PIECES])
        return Reference("00" * 32, np.ascontiguousarray(drawn.embeddings), drawn.probabilities, drawn.correct)


def arms_for(reference: Reference, run: int, with_alibi: bool) -> list[Watched]:
    """Every detector that there is."""
    arms = [Watched("builtin", Builtin, "MMDOnline", run, reference)]
    for detector in ("MMDOnline", "LSDDOnline", "CVMOnline", "FETOnline", "KS") if with_alibi else ():
        arms.append(Watched("alibi-detect", alibi.backend, detector, run, reference))
        note(f"{arms[-1].name}: {arms[-1].plan}")
    return arms


def tables(seed: int, quick: bool, run: int, with_alibi: bool) -> dict[str, list[dict[str, object]]]:
    """What the changes do to the network, and what the detectors make of them."""
    line, rng = Line(seed), np.random.default_rng(seed + 1)
    arms = arms_for(line.reference(rng), run, with_alibi)
    changes = [change for change in CHANGES if not quick or change.size in {"0.5", "0.6", "0.9"}]
    effects = [_effect(line, change, rng) for change in (Change(), *changes)]
    calm = line.images(10_000 if quick else 40_000, rng, Change())
    rows = []
    for arm in arms:
        suspected, alarms = arm.alarms_of(calm.records())
        row: dict[str, object] = {"detector": arm.name, "images": len(calm.truth)}
        row |= {"suspected": len(suspected), "confirmed": len(alarms)}
        for change in changes:
            row[f"{change.kind} {change.size}"] = _delay(arm, _streams(line, change, seed, 2 if quick else 5))
        note(str(row))
        rows.append(row)
    return {"changes": effects, "detectors": rows}


def _effect(line: Line, change: Change, rng: np.random.Generator) -> dict[str, object]:
    images = line.images(20_000, rng, change)
    confidence = float(images.probabilities.max(axis=1).mean())
    return {
        "change": f"{change.kind} {change.size}".strip(),
        "accuracy": f"{float(images.correct.mean()):.3f}",
        "confidence": f"{confidence:.3f}",
    }


def _streams(line: Line, change: Change, seed: int, count: int) -> Callable[[], Iterator[tuple[int, Images]]]:
    """The same ones for every detector, made again instead of kept."""

    def made() -> Iterator[tuple[int, Images]]:
        for number in range(count):
            rng = np.random.default_rng((seed, number, CHANGES.index(change)))
            before = int(rng.integers(*BEFORE))
            yield before, line.images(before, rng, Change()).then(line.images(HORIZON, rng, change))

    return made


def _delay(arm: Watched, streams: Callable[[], Iterator[tuple[int, Images]]]) -> str:
    """The median, and of how many streams the change was found out; alarms before it count for nothing."""
    found: list[float] = []
    for before, images in streams():
        _, alarms = arm.alarms_of(images.records())
        found.append(min((image - before for image in alarms if image > before), default=np.inf))
    return _told(found)


def _told(found: Sequence[float]) -> str:
    seen = sum(np.isfinite(found))
    median = float(np.median(found))
    if not seen:
        return "none"
    share = "" if seen == len(found) else f" ({seen} of {len(found)})"
    return f"{int(median):,}{share}" if np.isfinite(median) else f"> {HORIZON:,}{share}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter streams")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run-images", type=int, default=2_000, help="images between two false suspicions")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--without-alibi", action="store_true", help="only the built-in detector")
    given = parser.parse_args()
    made = tables(given.seed, given.quick, given.run_images, not given.without_alibi)
    print(json.dumps(made, indent=2)) if given.json else show(made)


if __name__ == "__main__":
    main()
