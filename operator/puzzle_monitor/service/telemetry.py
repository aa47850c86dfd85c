"""Metrics for Prometheus: those of this process, and the counts of predictions, which are read from the database.

The latter are derived at every scrape from what was counted in the same transactions as the rows themselves. A
restart, a second monitor or a retried batch changes nothing about them, and no count is ahead of what is stored.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from puzzle_monitor.core.accuracy import BOUNDS, Cell
from puzzle_monitor.core.feeds.health import Verdict
from puzzle_monitor.core.stored import Feed, Gauges, Pruned, Totals
from puzzle_monitor.core.work import Outcome, Outcomes
from puzzle_monitor.ports import Store, Unavailable
from puzzle_monitor.service.gauges import LABELS, cumulated, measured

OTHER = "other"
"""Stands for truths that are no class of the model: free text must not become any number of series."""


class Telemetry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "puzzle_monitor_requests", "Answers, by route and status.", ("route", "code"), registry=self.registry
        )
        self._items = Counter(
            "puzzle_monitor_items",
            "Records, feedback and images that were sent, by what became of them.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self._commit = Histogram(
            "puzzle_monitor_commit_seconds",
            "Duration of a write transaction.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self._waiting = Gauge("puzzle_monitor_waiting_items", "Items that wait to be written.", registry=self.registry)
        self._pruned = Counter("puzzle_monitor_pruned", "What retention deleted.", ("kind",), registry=self.registry)
        self._failures = Counter(
            "puzzle_monitor_failures", "What went wrong inside, by where.", ("where",), registry=self.registry
        )

    def answered(self, route: str, code: int) -> None:
        """An answer was sent."""
        self._requests.labels(route, str(code)).inc()

    def wrote(self, seconds: float, outcomes: Outcomes) -> None:
        """A transaction was committed."""
        self._commit.observe(seconds)
        for kind, found in (("record", outcomes.records), ("feedback", outcomes.feedback), ("image", outcomes.images)):
            for outcome, count in Counts[Outcome](found).items():
                self._items.labels(kind, outcome).inc(count)

    def waiting(self, items: int) -> None:
        """So many items wait."""
        self._waiting.set(items)

    def pruned(self, gone: Pruned) -> None:
        """Retention deleted something."""
        for item in fields(Pruned):
            self._pruned.labels(item.name).inc(getattr(gone, item.name))

    def failed(self, where: str) -> None:
        """Something that nobody outside was told of."""
        self._failures.labels(where).inc()

    def expose(self, store: Store, since: int, verdict: Callable[[Feed], Verdict]) -> bytes:
        """Everything in Prometheus' text format; gauges of accuracy since then. Blocks."""
        counts = CollectorRegistry()
        counts.register(SeriesCollector(store, since, verdict))
        return generate_latest(self.registry) + generate_latest(counts)


class SeriesCollector(Collector):
    """The counts of every series, as they are in the database now."""

    def __init__(self, store: Store, since: int, verdict: Callable[[Feed], Verdict]) -> None:
        self._store, self._since, self._verdict = store, since, verdict

    def describe(self) -> Iterable[Metric]:
        """Nothing: prometheus_client would read the database to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            totals: Iterable[Totals] = self._store.totals()
            gauges, up = self._store.gauges(self._since), 1
        except Unavailable:
            totals, gauges, up = (), Gauges(), 0
        yield GaugeMetricFamily("puzzle_monitor_store_up", "1 if the database answers.", value=up)
        yield from families(totals)
        yield from measured(gauges, self._verdict)


def families(totals: Iterable[Totals]) -> Iterator[Metric]:
    """The counts as metrics. Pure."""
    predictions = CounterMetricFamily("puzzle_monitor_predictions", "Predictions stored.", labels=LABELS)
    labelled = CounterMetricFamily("puzzle_monitor_labelled", "Predictions that got their first label.", labels=LABELS)
    wrong = CounterMetricFamily("puzzle_monitor_wrong", "Predictions whose first label differs.", labels=LABELS)
    predicted = CounterMetricFamily(
        "puzzle_monitor_predicted", "Predictions by predicted class.", labels=(*LABELS, "label")
    )
    first = CounterMetricFamily(
        "puzzle_monitor_class", "Predicted class against the first label.", labels=(*LABELS, "label", "truth")
    )
    latest = GaugeMetricFamily(
        "puzzle_monitor_confusion", "Predicted class against the newest label.", labels=(*LABELS, "label", "truth")
    )
    confidence = HistogramMetricFamily(
        "puzzle_monitor_confidence", "Confidence of predictions, by revision.", labels=LABELS
    )
    for one in totals:
        key = one.series.key
        predictions.add_metric(key, sum(one.buckets))
        labelled.add_metric(key, sum(cell.count for cell in one.first))
        wrong.add_metric(key, sum(cell.count for cell in one.first if cell.label != cell.truth))
        for label, count in one.predicted.items():
            predicted.add_metric((*key, label), count)
        for cell in _known(one.first, one.classes):
            first.add_metric((*key, cell.label, cell.truth), cell.count)
        for cell in _known(one.latest, one.classes):
            latest.add_metric((*key, cell.label, cell.truth), cell.count)
        confidence.add_metric(key, buckets=cumulated(BOUNDS, one.buckets), sum_value=one.confidence)
    return iter((predictions, labelled, wrong, predicted, first, latest, confidence))


def _known(cells: Iterable[Cell], classes: frozenset[str]) -> Iterator[Cell]:
    counts: Counts[tuple[str, str]] = Counts()
    for cell in cells:
        counts[cell.label, cell.truth if cell.truth in classes else OTHER] += cell.count
    return (Cell(label, truth, count) for (label, truth), count in sorted(counts.items()))
