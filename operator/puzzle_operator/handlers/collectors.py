"""What a scrape says about each model: gauges made from the status as the last pass recorded it.

Nothing is set and nothing has to be taken back: a metric that left the spec, a phase that was left and a model
that is gone are simply not there at the next scrape. Names follow Prometheus' conventions
(https://prometheus.io/docs/practices/naming/): base units, times as Unix timestamps, shares as ratios.

Labels are bounded: by the enums of `api.conditions`, by the metrics of a spec, and by one champion and one
challenger to a model. No message and no identifier of a request becomes a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from puzzle_common.durations import parse_duration
from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.retraining import RetrainingPhase, RunOutcome
from puzzle_operator.api.status import MetricStatus, PuzzleModelStatus
from puzzle_operator.core.names import short
from puzzle_operator.core.watched import challengers_report

MODEL_LABELS = ("namespace", "model")
_STATES = ("True", "False", "Unknown")
Values = Iterable[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A model as the last pass left it; `at` is the Unix time of that pass."""

    model: PuzzleModel
    status: PuzzleModelStatus
    at: float


@dataclass(frozen=True, slots=True)
class _Gauge:
    """One name: its labels beyond those of the model, and how its values follow from what is shown."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[Shown], Values]


def _one(value: float | None) -> Values:
    return () if value is None else (((), value),)


def _stamp(moment: datetime | None) -> Values:
    return _one(None if moment is None else moment.timestamp())


def _weight(shown: Shown) -> Values:
    weight = shown.status.weight
    yield ("wanted",), (weight.wanted if weight else 0) / 100
    yield ("observed",), (weight.observed if weight else 0) / 100


def _versions(shown: Shown) -> Values:
    for role, ref in (("champion", shown.status.champion), ("challenger", shown.status.challenger)):
        if ref is not None:
            yield (role, short(ref.version)), 1


def _words(words: type[StrEnum], present: StrEnum | None) -> Values:
    """1 for the present word of a closed set, 0 for the others; nothing without one."""
    return () if present is None else (((word,), word is present) for word in words)


def _conditions(shown: Shown) -> Values:
    for condition in shown.status.conditions:
        for state in _STATES:
            yield (str(condition.type), state), condition.status == state


def step_since(status: PuzzleModelStatus) -> datetime | None:
    """Since when the clock of the present step runs; None without a step, or while the clock stands still."""
    rollout = status.active
    if rollout is None or rollout.frozen_since is not None:
        return None
    return rollout.started_at if status.phase is Phase.STARTING else rollout.step_started_at


def _each_metric(values: Callable[[MetricStatus], Values]) -> Callable[[Shown], Values]:
    def found(shown: Shown) -> Values:
        for metric in shown.status.metrics:
            for labels, value in values(metric):
                yield (metric.name, *labels), value

    return found


def _by_kind(against: float | None, for_: float | None) -> Values:
    return tuple(((kind,), value) for kind, value in (("against", against), ("for", for_)) if value is not None)


def _p95(metric: MetricStatus) -> Values:
    for name, side in (("champion", metric.champion), ("challenger", metric.challenger)):
        if side.p95 is not None:
            yield (name, "low"), side.p95.low
            if side.p95.high is not None:
                yield (name, "high"), side.p95.high


def _challenger_drift(status: PuzzleModelStatus) -> Values:
    report = challengers_report(status)
    return () if report is None else (((report.shown,), 1),)


def _challenger_accuracy(status: PuzzleModelStatus) -> float | None:
    seen = {entry.version: entry.accuracy for entry in status.accuracy.versions} if status.accuracy else {}
    return seen.get(status.challenger.version) if status.challenger else None


_GAUGES = (
    _Gauge(
        "puzzle_phase",
        "1 for the present phase of a model, 0 for the others.",
        ("phase",),
        lambda s: (((phase,), s.status.phase is phase) for phase in Phase),
    ),
    _Gauge(
        "puzzle_phase_since_timestamp_seconds",
        "When the present phase began.",
        (),
        lambda s: _stamp(s.status.transitions[-1].at if s.status.transitions else None),
    ),
    _Gauge(
        "puzzle_step_since_timestamp_seconds",
        "Since when the clock of the present step runs; absent while it stands still.",
        (),
        lambda s: _stamp(step_since(s.status)),
    ),
    _Gauge(
        "puzzle_inconclusive_deadline_seconds",
        "spec.canary.inconclusive.deadline.",
        (),
        lambda s: _one(parse_duration(s.model.spec.canary.inconclusive.deadline).total_seconds()),
    ),
    _Gauge(
        "puzzle_reason",
        "1 for the reason that the status gives.",
        ("reason",),
        lambda s: (((s.status.reason,), 1),) if s.status.reason else (),
    ),
    _Gauge("puzzle_condition", "1 for the present status of a condition.", ("type", "status"), _conditions),
    _Gauge(
        "puzzle_awaiting_approval",
        "Whether a move waits for a person's consent.",
        (),
        lambda s: _one(s.status.awaiting is not None),
    ),
    _Gauge("puzzle_paused", "Whether spec.paused is true.", (), lambda s: _one(s.model.spec.paused)),
    _Gauge("puzzle_version_info", "Champion and challenger, by short digest.", ("role", "version"), _versions),
    _Gauge(
        "puzzle_quarantined_versions",
        "Versions that failed and are not tried again.",
        (),
        lambda s: _one(len(s.status.quarantined)),
    ),
    _Gauge(
        "puzzle_drift",
        "1 for what is known of the champion's drift; absent where nobody looks.",
        ("state",),
        lambda s: (((s.status.drift.shown,), 1),) if s.status.drift else (),
    ),
    _Gauge(
        "puzzle_accuracy_ratio",
        "Accuracy of the champion by people's labels, lately; absent without labels.",
        (),
        lambda s: _one(s.status.accuracy.champion if s.status.accuracy else None),
    ),
    _Gauge(
        "puzzle_challenger_drift",
        "1 for what the challenger's own detector says; absent without a rollout, or where nobody looks.",
        ("state",),
        lambda s: _challenger_drift(s.status),
    ),
    _Gauge(
        "puzzle_challenger_accuracy_ratio",
        "Accuracy of the challenger by people's labels, lately; absent without a rollout or labels of it.",
        (),
        lambda s: _one(_challenger_accuracy(s.status)),
    ),
    _Gauge(
        "puzzle_retraining_phase",
        "1 for the present phase of retraining; absent where a model is never retrained.",
        ("phase",),
        lambda s: _words(RetrainingPhase, s.status.retraining.phase if s.status.retraining else None),
    ),
    _Gauge(
        "puzzle_retraining_outcome",
        "1 for the outcome of the last run; absent before it has ended.",
        ("outcome",),
        lambda s: _words(RunOutcome, s.status.retraining.outcome if s.status.retraining else None),
    ),
    _Gauge(
        "puzzle_retraining_pending",
        "Whether a run waits for a node, for its image, or for the API server.",
        (),
        lambda s: _one(s.status.retraining.pending is not None if s.status.retraining else None),
    ),
    _Gauge("puzzle_weight_ratio", "The challenger's share of requests, 0 to 1.", ("kind",), _weight),
    _Gauge(
        "puzzle_challenger_requests",
        "Requests that the challenger answered in the present or last rollout.",
        (),
        lambda s: _one(s.status.samples),
    ),
    _Gauge(
        "puzzle_verdict",
        "1 for the present verdict on the challenger.",
        ("verdict",),
        lambda s: (((verdict,), s.status.verdict is verdict) for verdict in Verdict),
    ),
    _Gauge(
        "puzzle_metric_verdict",
        "1 for the present verdict of one metric of the spec.",
        ("metric", "verdict"),
        _each_metric(lambda m: (((verdict,), m.verdict is verdict) for verdict in Verdict)),
    ),
    _Gauge(
        "puzzle_evidence",
        "Evidence against or for the challenger, as an e-value; 1 says nothing.",
        ("metric", "kind"),
        _each_metric(lambda m: _by_kind(m.evidence, m.evidence_for)),
    ),
    _Gauge(
        "puzzle_evidence_bound",
        "Evidence at which the metric fails or passes.",
        ("metric", "kind"),
        _each_metric(lambda m: _by_kind(m.bound, m.bound_for)),
    ),
    _Gauge(
        "puzzle_requests_needed",
        "Requests of the challenger until the metric is expected to pass; absent when that is not in sight.",
        ("metric",),
        _each_metric(lambda m: _one(m.needed)),
    ),
    _Gauge(
        "puzzle_rollout_requests",
        "Requests counted as evidence in the present or last rollout.",
        ("metric", "side"),
        _each_metric(lambda m: ((("champion",), m.champion.requests), (("challenger",), m.challenger.requests))),
    ),
    _Gauge(
        "puzzle_rollout_bad_requests",
        "Bad requests among those counted as evidence.",
        ("metric", "side"),
        _each_metric(lambda m: ((("champion",), m.champion.bad), (("challenger",), m.challenger.bad))),
    ),
    _Gauge(
        "puzzle_latency_p95_seconds",
        "Bounds of the 95th percentile of latency, valid at all looks together.",
        ("metric", "side", "limit"),
        _each_metric(_p95),
    ),
    _Gauge("puzzle_pass_timestamp_seconds", "When the last pass was recorded.", (), lambda s: _one(s.at)),
)


class ModelCollector(Collector):
    """The models that this operator acts on. Scrapes come from a thread of their own; what is kept is frozen."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], Shown] = {}

    def get(self, key: tuple[str, str]) -> Shown | None:
        """The model as it was last shown."""
        return self._shown.get(key)

    def show(self, shown: Shown) -> None:
        """Say this from the next scrape on."""
        self._shown[shown.model.namespace, shown.model.name] = shown

    def forget(self, key: tuple[str, str]) -> None:
        """Say nothing more of this model."""
        self._shown.pop(key, None)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Names alone: the registry refuses a second collector with one of them."""
        for gauge in _GAUGES:
            yield GaugeMetricFamily(gauge.name, gauge.help, labels=(*MODEL_LABELS, *gauge.labels))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        shown = self._shown.copy().items()  # a pass may add a model meanwhile
        for gauge, family in zip(_GAUGES, self.describe(), strict=True):
            for key, model in shown:
                for labels, value in gauge.values(model):
                    family.add_metric((*key, *labels), float(value))
            yield family
