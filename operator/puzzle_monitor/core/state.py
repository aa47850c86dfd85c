"""The state of a model as it is answered: drift, input, accuracy, labels; and their histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

from puzzle_monitor.core.feeds.health import Verdict
from puzzle_monitor.core.models import PHASES, DriftReport, ModelSettings, Phase
from puzzle_monitor.core.records import Wire, unpack
from puzzle_monitor.core.stored import DriftPoint, Feed, Labels, ScorePoint, StoredModel, StoredPrediction
from puzzle_monitor.core.times import moment

ProblemKind = Literal["Missing", "Late", "Volume", "Format", "Size", "Dark", "Bright", "Blurred", "ColourShift"]


class InputProblem(Wire):
    """One thing that is wrong with the pictures of a line."""

    kind: ProblemKind
    since: datetime
    message: str


class InputState(Wire):
    """Whether the pictures of a line are what they should be."""

    healthy: bool | None
    """None: too few images to say."""
    problems: tuple[InputProblem, ...]
    images: int
    """Ever."""
    last_image_at: datetime | None
    message: str


class VersionAccuracy(Wire):
    """How often people agreed with one version within the last `window_s` seconds."""

    version: str
    labelled: int
    wrong: int
    accuracy: float | None
    window_s: float


class LabelCount(Wire):
    """Labelled predictions ever, those with a picture that is kept, and the bytes of these."""

    total: int
    images: int
    bytes: int


class ModelState(Wire):
    """All that the monitor says about a model."""

    at: datetime
    drift: tuple[DriftReport, ...]
    """Of champion and challenger, where drift is watched."""
    input: InputState
    accuracy: tuple[VersionAccuracy, ...]
    labels: LabelCount
    decisions: tuple[str, ...]
    """Ids of the newest decisions on record, so that the operator sees which are missing."""


class SettingsAndState(Wire):
    """What is wanted of a model, and what was found."""

    settings: ModelSettings
    state: ModelState


class NamedModel(SettingsAndState):
    """The same with its name."""

    namespace: str
    name: str


class ModelList(Wire):
    """All models that the operator told of."""

    models: tuple[NamedModel, ...]


class StreamRecord(Wire):
    """One prediction, for whoever follows a version."""

    seq: int
    id: str
    at: datetime
    revision: str
    label: str
    truth: str | None
    confidence: float
    probabilities: dict[str, float]
    embedding: list[float] | None


class Stream(Wire):
    """Records in order of arrival."""

    records: tuple[StreamRecord, ...]
    next: int
    """Send it back as `after`."""


class DriftStored(Wire):
    """What became of a drift worker's state."""

    stored: bool
    """False: it was there already."""


class DriftHistoryPoint(Wire):
    """Drift at one moment."""

    at: datetime
    images: int
    score: float | None
    threshold: float | None
    phase: Phase


class DriftHistory(Wire):
    """Drift of one version over time, oldest first."""

    history: tuple[DriftHistoryPoint, ...]


class AccuracyPoint(Wire):
    """One bucket of time. Those without predictions are left out."""

    at: datetime
    """Its beginning."""
    predictions: int
    labelled: int
    wrong: int
    accuracy: float | None


class VersionPoints(Wire):
    """One version over time."""

    version: str
    points: tuple[AccuracyPoint, ...]


class AccuracyHistory(Wire):
    """Accuracy by version and bucket of time."""

    since: datetime
    until: datetime
    bucket_s: float
    series: tuple[VersionPoints, ...]


def accuracy(labelled: int, wrong: int) -> float | None:
    """The share that was right."""
    return (labelled - wrong) / labelled if labelled else None


PROBLEM_KINDS: dict[str, ProblemKind] = {kind: kind for kind in get_args(ProblemKind)}


def input_state(feed: Feed | None, found: Verdict | None) -> InputState:
    """What arrived from a line, and what is wrong with it."""
    if feed is None or found is None:
        text = "No picture has arrived yet."
        return InputState(healthy=None, problems=(), images=0, last_image_at=None, message=text)
    return InputState(
        healthy=found.healthy,
        problems=tuple(
            InputProblem(kind=PROBLEM_KINDS[one.kind], since=moment(one.since), message=one.message)
            for one in found.problems
        ),
        images=feed.images,
        last_image_at=moment(feed.last_at),
        message=found.message,
    )


def model_state(
    model: StoredModel, settings: ModelSettings, feed: InputState, at: datetime, window_s: float
) -> ModelState:
    """Everything put together."""
    watched = [version for version in (settings.champion, settings.challenger) if version]
    reports = [model.reports[version] for version in dict.fromkeys(watched) if version in model.reports]
    return ModelState(
        at=at,
        drift=tuple(DriftReport.model_validate_json(report) for report in reports) if settings.drift else (),
        input=feed,
        accuracy=version_accuracy(model.scores, watched, window_s),
        labels=label_count(model.labels),
        decisions=model.decisions,
    )


def version_accuracy(
    scores: Iterable[ScorePoint], watched: Sequence[str], window_s: float
) -> tuple[VersionAccuracy, ...]:
    """Of the versions that are watched, and of those that have labels."""
    labelled: Counter[str] = Counter(dict.fromkeys(watched, 0))
    wrong: Counter[str] = Counter()
    for one in scores:
        labelled[one.version] += one.labelled
        wrong[one.version] += one.wrong
    return tuple(
        VersionAccuracy(
            version=version,
            labelled=count,
            wrong=wrong[version],
            accuracy=accuracy(count, wrong[version]),
            window_s=window_s,
        )
        for version, count in labelled.items()
        if count or version in watched
    )


def label_count(labels: Labels) -> LabelCount:
    """As it is answered."""
    return LabelCount(total=labels.total, images=labels.images, bytes=labels.bytes)


def stream(rows: Sequence[StoredPrediction], after: int) -> Stream:
    """Records in the order that they have."""
    records = tuple(
        StreamRecord(
            seq=row.seq,
            id=row.id,
            at=moment(row.at),
            revision=row.series.revision,
            label=row.label,
            truth=row.truth,
            confidence=row.confidence,
            probabilities=dict(row.probabilities),
            embedding=unpack(row.embedding),
        )
        for row in rows
    )
    return Stream(records=records, next=records[-1].seq if records else after)


def drift_history(points: Iterable[DriftPoint]) -> DriftHistory:
    """As it is answered."""
    phases = {str(phase): phase for phase in PHASES}
    return DriftHistory(
        history=tuple(
            DriftHistoryPoint(
                at=moment(one.at),
                images=one.images,
                score=one.score,
                threshold=one.threshold,
                phase=phases[one.phase],
            )
            for one in points
        )
    )


def accuracy_history(
    points: Iterable[ScorePoint], since: datetime, until: datetime, bucket: timedelta
) -> AccuracyHistory:
    """Points by version, as they come, which is in order of time."""
    versions: dict[str, list[AccuracyPoint]] = {}
    for one in points:
        versions.setdefault(one.version, []).append(
            AccuracyPoint(
                at=moment(one.start),
                predictions=one.predictions,
                labelled=one.labelled,
                wrong=one.wrong,
                accuracy=accuracy(one.labelled, one.wrong),
            )
        )
    series = tuple(VersionPoints(version=version, points=tuple(found)) for version, found in sorted(versions.items()))
    return AccuracyHistory(since=since, until=until, bucket_s=bucket.total_seconds(), series=series)
