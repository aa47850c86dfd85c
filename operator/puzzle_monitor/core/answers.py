"""What the monitor answers, as JSON: the other half of the API's schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from puzzle_monitor.core.accuracy import Cell, Score, score
from puzzle_monitor.core.records import ImageStats, Wire, unpack
from puzzle_monitor.core.stored import StoredLabel, StoredPrediction, Window
from puzzle_monitor.core.times import moment
from puzzle_monitor.core.work import Outcome

_NAMED = 100


class TokenRoles(Wire):
    """Whose token it is, and what it opens."""

    name: str
    roles: tuple[str, ...]


class Ingested(Wire):
    """What became of a batch. All of it is on disk, whatever happens to the monitor now."""

    stored: int
    duplicates: int
    """Known already: nothing changed."""
    expired: int
    """Older than the retention; not kept."""
    conflicts: tuple[str, ...]
    """Ids (the first 100) that belong to another prediction, which stays: the sender's ids are not unique."""


class FeedbackTaken(Wire):
    """What became of feedback."""

    stored: int
    """Joined with its prediction."""
    waiting: int
    """Kept until its prediction arrives."""
    duplicates: int
    expired: int
    unknown_labels: tuple[str, ...]
    """Stored, but none of the classes of the model that it is about: a new class, or a spelling mistake."""


class LabelRetracted(Wire):
    """What became of a retraction."""

    retracted: bool
    """False: it was taken back before."""
    truth: str | None
    """What is held to be true of the prediction now."""


class ImageTaken(Wire):
    """What became of a picture."""

    stored: bool
    """False: the same one was there already."""


class Label(Wire):
    """One entry of the history of labels."""

    label: str
    who: str
    at: datetime
    received: datetime
    note: str | None = None
    retracted: datetime | None = None
    """When it was taken back; it does not count since then."""


class Prediction(Wire):
    """A stored prediction with what is held to be true of it."""

    seq: int
    """Order of arrival."""
    id: str
    at: datetime
    received: datetime
    namespace: str
    model: str
    line: str
    revision: str
    version: str
    label: str
    confidence: float
    probabilities: dict[str, float]
    image: ImageStats
    has_image: bool
    """Whether a picture was kept: /v1/predictions/{id}/image."""
    truth: str | None
    """The newest label, None without one."""
    truth_at: datetime | None
    truth_by: str | None
    embedding: list[float] | None = None


class PredictionWithHistory(Prediction):
    """The same with every label it was ever given, in order of arrival."""

    feedback: tuple[Label, ...]


class Page(Wire):
    """Some predictions, and where to go on."""

    predictions: tuple[Prediction, ...]
    next: str | None
    """Send it back as `cursor`; None at the end."""


class ClassAccuracy(Wire):
    """One class, as labelled."""

    label: str
    labelled: int
    recall: float | None
    precision: float | None


class Confusion(Wire):
    """So many were predicted `label` and are `truth`."""

    label: str
    truth: str
    count: int


class Accuracy(Wire):
    """How often predictions were right. Shares are null where there is nothing to divide by."""

    predictions: int
    labelled: int
    wrong: int
    accuracy: float | None
    classes: tuple[ClassAccuracy, ...]
    confusion: tuple[Confusion, ...]


class RevisionAccuracy(Accuracy):
    """The same for one revision."""

    namespace: str
    model: str
    line: str
    revision: str
    version: str


class AccuracyReport(Accuracy):
    """Over all that was asked for, and for each revision."""

    since: datetime
    until: datetime
    revisions: tuple[RevisionAccuracy, ...]


class Fault(Wire):
    """One field that is wrong."""

    field: str
    message: str


class Problem(Wire):
    """RFC 9457. Nothing was changed."""

    type: str = "about:blank"
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    errors: tuple[Fault, ...] = ()


def ingested(ids: Sequence[str], outcomes: Sequence[Outcome]) -> Ingested:
    """Counts of what became of the records with these ids."""
    conflicts = [one for one, outcome in zip(ids, outcomes, strict=True) if outcome is Outcome.CONFLICT]
    return Ingested(
        stored=outcomes.count(Outcome.STORED),
        duplicates=outcomes.count(Outcome.DUPLICATE),
        expired=outcomes.count(Outcome.EXPIRED),
        conflicts=tuple(conflicts[:_NAMED]),
    )


def taken(outcomes: Sequence[Outcome], strange: Iterable[tuple[str, str]]) -> FeedbackTaken:
    """Counts of what became of feedback."""
    return FeedbackTaken(
        stored=outcomes.count(Outcome.STORED),
        waiting=outcomes.count(Outcome.WAITING),
        duplicates=outcomes.count(Outcome.DUPLICATE),
        expired=outcomes.count(Outcome.EXPIRED),
        unknown_labels=tuple(sorted({label for _, label in strange})[:_NAMED]),
    )


def prediction(stored: StoredPrediction) -> Prediction:
    """A stored prediction as it is shown."""
    return Prediction(**_shown(stored))


def with_history(stored: StoredPrediction, labels: Iterable[StoredLabel]) -> PredictionWithHistory:
    """The same with its labels."""
    history = tuple(
        Label(
            label=item.label,
            who=item.who,
            at=moment(item.at),
            received=moment(item.received),
            note=item.note,
            retracted=None if item.retracted is None else moment(item.retracted),
        )
        for item in labels
    )
    return PredictionWithHistory(**_shown(stored), feedback=history)


def report(windows: Sequence[Window], since: datetime, until: datetime) -> AccuracyReport:
    """Accuracy over all windows together and for each."""
    together = score(cell for window in windows for cell in window.cells)
    revisions = tuple(
        RevisionAccuracy(**_scored(score(window.cells), window.predictions), **asdict(window.series))
        for window in windows
        if window.predictions
    )
    count = sum(window.predictions for window in windows)
    return AccuracyReport(**_scored(together, count), since=since, until=until, revisions=revisions)


def _scored(found: Score, predictions: int) -> dict[str, Any]:
    return {
        "predictions": predictions,
        "labelled": found.labelled,
        "wrong": found.wrong,
        "accuracy": found.accuracy,
        "classes": tuple(
            ClassAccuracy(label=item.label, labelled=item.labelled, recall=item.recall, precision=item.precision)
            for item in found.classes
        ),
        "confusion": tuple(_cell(cell) for cell in found.confusion),
    }


def _cell(cell: Cell) -> Confusion:
    return Confusion(label=cell.label, truth=cell.truth, count=cell.count)


def _shown(stored: StoredPrediction) -> dict[str, Any]:
    one = stored.series
    return {
        "seq": stored.seq,
        "id": stored.id,
        "at": moment(stored.at),
        "received": moment(stored.received),
        "namespace": one.namespace,
        "model": one.model,
        "line": one.line,
        "revision": one.revision,
        "version": one.version,
        "label": stored.label,
        "confidence": stored.confidence,
        "probabilities": dict(stored.probabilities),
        "image": ImageStats.model_validate(stored.image, strict=False),
        "has_image": stored.image_digest is not None,
        "truth": stored.truth,
        "truth_at": None if stored.truth_at is None else moment(stored.truth_at),
        "truth_by": stored.truth_by,
        "embedding": unpack(stored.embedding),
    }
