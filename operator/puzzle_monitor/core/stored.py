"""What the monitor answers from: stored predictions, the series they belong to, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

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


class Order(StrEnum):
    """In which order predictions are listed."""

    NEWEST = "newest"
    OLDEST = "oldest"
    UNCERTAIN = "uncertain"
    """Those first that the model was least sure of."""

    @property
    def column(self) -> str:
        """What they are sorted by, before `seq`."""
        return "confidence" if self is Order.UNCERTAIN else "at"

    def position(self, one: StoredPrediction) -> Position:
        """Where a prediction stands in this order."""
        return (one.confidence if self is Order.UNCERTAIN else one.at), one.seq


Position = tuple[int | float, int]
"""A time or a confidence, and `seq`."""


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
    has_image: bool | None = None
    since_seq: int | None = None
    """Only what arrived behind this `seq`."""

    def between(self, since: int | None, until: int | None) -> Filter:
        """The same in another span of time."""
        return replace(self, since=since, until=until)

    def only(
        self,
        labelled: bool | None = None,
        max_confidence: float | None = None,
        has_image: bool | None = None,
        since_seq: int | None = None,
    ) -> Filter:
        """The same with these conditions on each prediction, and no others."""
        return replace(self, labelled=labelled, max_confidence=max_confidence, has_image=has_image, since_seq=since_seq)

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
    retracted: int | None = None
    """When it was taken back."""


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
    minutes: int = 0
    """Of input health and of accuracy over time."""
    drift: int = 0
    """Points of drift's history, and states of versions that nobody watches any more."""
    feeds: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled predictions of one model, ever: how many, how many with a picture, and the bytes of these."""

    total: int = 0
    images: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """One version's predictions in a span of time."""

    version: str
    start: int
    predictions: int
    labelled: int
    wrong: int


@dataclass(frozen=True, slots=True)
class SeriesScore:
    """The labelled predictions of one series in the window."""

    series: Series
    labelled: int
    wrong: int


@dataclass(frozen=True, slots=True)
class DriftKey:
    """What has a detector of its own."""

    namespace: str
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class StoredDrift:
    """What a worker stored. `report` is JSON."""

    report: str
    cursor: int
    state: bytes
    config: str


@dataclass(frozen=True, slots=True)
class DriftPoint:
    """Drift at one moment."""

    at: int
    images: int
    score: float | None
    threshold: float | None
    phase: str


@dataclass(frozen=True, slots=True)
class Feed:
    """The pictures of one line of one model. Times are microseconds."""

    id: int
    namespace: str
    model: str
    line: str
    images: int
    first_received: int
    last_received: int
    last_at: int
    lateness: tuple[int, ...]
    """Counts by bucket, as in a histogram."""
    lateness_sum: float
    """Seconds."""
    health: str | None = None
    """JSON, where it was judged."""


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A decision about a champion that may be new. `decision` is JSON."""

    id: str
    at: int
    decision: str


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision on record. `decision` is JSON."""

    seq: int
    received: int
    decision: str


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One model, and everything that its state is made from. `settings` and the reports are JSON."""

    namespace: str
    name: str
    settings: str
    reports: Mapping[str, str]
    """By version."""
    feeds: tuple[Feed, ...]
    scores: tuple[ScorePoint, ...]
    labels: Labels
    decisions: tuple[str, ...] = ()
    """Ids of the newest."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is measured now, beside what is counted."""

    scores: tuple[SeriesScore, ...] = ()
    drift: tuple[tuple[Series, str], ...] = ()
    """Reports as JSON, and the newest series of their version."""
    feeds: tuple[Feed, ...] = ()
