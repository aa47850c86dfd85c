"""Counts over a result, and the summary of all its shards."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from puzzlenet.errors import PuzzleNetError
from puzzlenet.files import pretty_json
from puzzlenet.scoring.places import Place
from puzzlenet.scoring.plan import Shard, prefix
from puzzlenet.scoring.table import verdicts

# Readers of Parquet folders leave out names that begin with an underscore.
RUN = "_run.json"
LOW_CONFIDENCE = 0.6


@dataclass(slots=True)
class Tally:
    """Images in all, by label, and without an answer by reason."""

    images: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    confidence: float = 0.0
    low: int = 0

    def add(self, label: str | None, confidence: float | None, error: str | None) -> None:
        """Count one row."""
        self.images += 1
        if label is None or confidence is None:
            self.errors[error or "unknown"] += 1
            return
        self.labels[label] += 1
        self.confidence += confidence
        self.low += confidence < LOW_CONFIDENCE

    @property
    def bad(self) -> int:
        """Images without an answer."""
        return self.errors.total()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        answered = self.images - self.bad
        return {
            "images": self.images,
            "labels": dict(sorted(self.labels.items())),
            "errors": dict(self.errors.most_common(20)),
            "unanswered": self.bad,
            "mean_confidence": round(self.confidence / answered, 6) if answered else None,
            "below_0.6": self.low,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a place holds: a run's description, its counts, and the shards that are not finished."""

    run: dict[str, Any]
    tally: Tally
    missing: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {**self.run, **self.tally.to_dict(), "unfinished_shards": list(self.missing)}


def describe(target: Place, run: dict[str, Any]) -> None:
    """Say what run a place belongs to. Raises PuzzleNetError when it is another's: results would be mixed."""
    found = target.read(RUN)
    if found is None:
        target.write(RUN, pretty_json(run))
        return
    known = _json(found, f"{target.name}/{RUN}")
    different = [name for name, value in run.items() if known.get(name) != value]
    if different:
        name = different[0]
        raise PuzzleNetError(
            f"{target.name} holds the result of another run ({name}: {known.get(name)}, not {run[name]}): "
            "choose another place for --out"
        )


def finished(shard: Shard) -> str:
    """The file that says that a shard is done."""
    return f"_done-{shard}.json"


def summarise(target: Place) -> Summary:
    """Count over all parts of all shards. Raises PuzzleNetError for a place without a result."""
    found = target.read(RUN)
    if found is None:
        raise PuzzleNetError(f"{target.name} holds no result of `puzzlenet score`: there is no {RUN}")
    run = _json(found, f"{target.name}/{RUN}")
    tally, done, count = Tally(), set(target.names("_done-")), int(run["shards"])
    missing = tuple(index for index in range(count) if finished(Shard(index, count)) not in done)
    for index in range(count):
        for name in target.names(prefix(Shard(index, count))):
            for row in verdicts(target.read(name) or b"", f"{target.name}/{name}"):
                tally.add(*row)
    return Summary(run=run, tally=tally, missing=missing)


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as exc:
        raise PuzzleNetError(f"{name} is not JSON ({exc}): remove it") from exc
    if not isinstance(value, dict) or not isinstance(value.get("shards"), int):
        raise PuzzleNetError(f"{name} does not describe a run: remove it")
    return value
