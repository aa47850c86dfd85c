"""Canary metrics that puzzle-monitor counts, from its series in Prometheus: wrong labels, unsure predictions. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from puzzle_operator.api.analysis import Metric, MetricType
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import Counter, Missing, MissingKind, Reading

Series = tuple[Mapping[str, str], float]

TYPES = frozenset({MetricType.LABELLED_ERRORS, MetricType.CONFIDENCE})
_LABELLED, _WRONG = "puzzle_monitor_labelled_total", "puzzle_monitor_wrong_total"
_CONFIDENCE = "puzzle_monitor_confidence_bucket"
_BY = "model_namespace, model, revision"


def summed(series: str, by: str) -> str:
    """Every replica of the monitor shows the numbers of one database: they are no parts of a sum."""
    return f"sum by ({by}) (max without (instance, pod) ({series}))"


def queries(metric: Metric) -> tuple[str, ...]:
    """What to ask Prometheus; the same for all models, so that it is asked once."""
    if metric.type is MetricType.CONFIDENCE:
        return (summed(_CONFIDENCE, f"{_BY}, le"),)
    return (summed(_WRONG, _BY), summed(_LABELLED, _BY))


def reading(
    model: PuzzleModel,
    metric: Metric,
    revisions: frozenset[str],
    found: Sequence[Iterable[Series]],
    now: datetime,
) -> Reading | Missing:
    """The answers to `queries` as a reading of this model."""
    if metric.type is MetricType.CONFIDENCE:
        return _confidence(model, metric.below or 0.0, revisions, now, *found)
    return _labelled(model, revisions, now, *found)


def _labelled(
    model: PuzzleModel, revisions: frozenset[str], now: datetime, wrong: Iterable[Series], labelled: Iterable[Series]
) -> Reading | Missing:
    """Labels come late: a revision without any is idle, as long as the monitor counts for the model at all."""
    bad = {labels.get("revision", ""): value for labels, value in _of(model, wrong)}
    total = {labels.get("revision", ""): value for labels, value in _of(model, labelled)}
    if not total:
        reason = f"{_LABELLED} has no series of this model: does puzzle-monitor run, and has a piece been labelled?"
        return Missing(MissingKind.ABSENT, reason)
    counters = tuple(
        Counter(revision, revision, count, min(bad.get(revision, 0.0), count), lasting=True)
        for revision, count in sorted(total.items())
        if revision in revisions
    )
    return Reading(counters, revisions, now)


def _confidence(
    model: PuzzleModel, below: float, revisions: frozenset[str], now: datetime, buckets: Iterable[Series]
) -> Reading | Missing:
    """Both numbers are of one histogram, so of one moment. Predictions are on record within seconds: a revision that
    answers and has none is unknown, not idle, so only what was found counts as scraped."""
    found: dict[str, dict[float, float]] = {}
    for labels, value in _of(model, buckets):
        found.setdefault(labels.get("revision", ""), {})[float(labels.get("le", "inf"))] = value
    if not found:
        reason = f"{_CONFIDENCE} has no series of this model: does puzzle-monitor run, and is spec.records enabled?"
        return Missing(MissingKind.ABSENT, reason)
    ours = {name: counts for name, counts in found.items() if name in revisions}
    if any(below not in counts or math.inf not in counts for counts in ours.values()):
        reason = f"{_CONFIDENCE} has no bound {below:g}: is it another version of puzzle-monitor?"
        return Missing(MissingKind.ABSENT, reason)
    counters = tuple(
        Counter(name, name, counts[math.inf], counts[below], lasting=True) for name, counts in sorted(ours.items())
    )
    return Reading(counters, frozenset(ours), now)


def _of(model: PuzzleModel, series: Iterable[Series]) -> Iterable[Series]:
    return (
        (labels, value)
        for labels, value in series
        if labels.get("model_namespace") == model.namespace and labels.get("model") == model.name
    )
