"""What the monitor answers from: stored predictions, the series they belong to, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from puzzle_monitor.core.accuracy import Cell
from puzzle_monitor.core.records import Record


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One revision of one version of one model: what every count is kept for."""

    namespace: str
    model: str
    line: str
    revision: str
    version: str

    @classmethod
    def of(cls, record: Record) -> Series:
        """The series that a record belongs to."""
        return cls(record.namespace, record.model, record.line, record.revision, record.version)

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Its values, in the order of the metrics' labels."""
        return self.namespace, self.model, self.line, self.revision, self.version


@dataclass(frozen=True, slots=True)
class Filter:
    """Which predictions. None asks for all; times are microseconds, `until` is not included."""

    namespace: str | None = None
    model: str | None = None
    line: str | None = None
    revision: str | None = None
    version: str | None = None
    since: int | None = None
    until: int | None = None
    labelled: bool | None = None
    max_confidence: float | None = None

    def between(self, since: int | None, until: int | None) -> Filter:
        """The same in another span of time."""
        return replace(self, since=since, until=until)

    def only(self, labelled: bool | None, max_confidence: float | None) -> Filter:
        """The same with other conditions on each prediction."""
        return replace(self, labelled=labelled, max_confidence=max_confidence)

    def series(self) -> Mapping[str, str]:
        """The conditions on the series."""
        names = [item.name for item in fields(Series)]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """One entry of a prediction's history of labels."""

    seq: int
    label: str
    who: str
    at: int
    received: int
    note: str | None


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction as it lies in the database. Times are microseconds."""

    seq: int
    id: str
    at: int
    received: int
    series: Series
    label: str
    confidence: float
    probabilities: Mapping[str, float]
    image: Mapping[str, object]
    image_digest: str | None
    truth: str | None
    truth_at: int | None
    truth_by: str | None
    embedding: bytes | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The predictions of one series in a span of time: how many there are, and the labelled ones as a matrix."""

    series: Series
    predictions: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """All that was ever counted of one series; nothing in it but `latest` ever falls."""

    series: Series
    classes: frozenset[str]
    predicted: Mapping[str, int]
    """By predicted class."""
    buckets: tuple[int, ...]
    confidence: float
    """Sum over all predictions."""
    first: tuple[Cell, ...]
    latest: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go, in one step of pruning."""

    predictions: int = 0
    feedback: int = 0
    images: int = 0
    series: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            self.predictions + other.predictions,
            self.feedback + other.feedback,
            self.images + other.images,
            self.series + other.series,
        )
