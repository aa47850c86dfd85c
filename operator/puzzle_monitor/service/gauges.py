"""Metrics of what is measured rather than counted: drift, accuracy of a window, what arrives on a line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from puzzle_monitor.core.feeds.digest import LATENESS_BOUNDS
from puzzle_monitor.core.feeds.health import Verdict
from puzzle_monitor.core.models import PHASES, DriftReport
from puzzle_monitor.core.state import PROBLEM_KINDS, accuracy
from puzzle_monitor.core.stored import Feed, Gauges, Series, SeriesScore

LABELS = ("model_namespace", "model", "line", "revision", "version")


def measured(found: Gauges, verdict: Callable[[Feed], Verdict]) -> Iterator[Metric]:
    """All of them."""
    yield from _scores(found.scores)
    yield from _drift([(series, DriftReport.model_validate_json(report)) for series, report in found.drift])
    yield from _feeds(found.feeds)
    yield from _health((feed, verdict(feed)) for feed in found.feeds)


def cumulated(bounds: Iterable[float], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Counts by bucket as Prometheus wants them: of all that are not above each bound."""
    rows, total = [], 0
    for name, count in zip([*(str(bound) for bound in bounds), "+Inf"], counts, strict=True):
        total += count
        rows.append((name, float(total)))
    return rows


def _gauge(name: str, text: str, *more: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"puzzle_monitor_{name}", text, labels=(*LABELS, *more))


def _scores(scores: Iterable[SeriesScore]) -> Iterator[Metric]:
    labelled = _gauge("window_labelled", "Labelled predictions of the accuracy window.")
    share = _gauge("window_accuracy", "Share of them that was right, by the newest labels.")
    for one in scores:
        labelled.add_metric(one.series.key, one.labelled)
        value = accuracy(one.labelled, one.wrong)
        if value is not None:
            share.add_metric(one.series.key, value)
    return iter((labelled, share))


def _drift(reports: Iterable[tuple[Series, DriftReport]]) -> Iterator[Metric]:
    score = _gauge("drift_score", "What the detector measures.")
    threshold = _gauge("drift_threshold", "What it must not exceed.")
    images = _gauge("drift_images", "Images that the detector has seen.")
    phase = _gauge("drift_phase", "1 for the phase that holds.", "phase")
    harmful = _gauge("drift_harmful", "1 if labels or confidence agree that drift does harm, 0 if they do not.")
    for series, report in reports:
        images.add_metric(series.key, report.images)
        for name in PHASES:
            phase.add_metric((*series.key, name), float(report.phase == name))
        if report.score is not None:
            score.add_metric(series.key, report.score)
        if report.threshold is not None:
            threshold.add_metric(series.key, report.threshold)
        if report.harmful != "Unknown":
            harmful.add_metric(series.key, float(report.harmful == "Yes"))
    return iter((score, threshold, images, phase, harmful))


def feed_key(feed: Feed) -> tuple[str, str, str, str, str]:
    """A camera does not change with the version: these metrics have no revision and no version."""
    return feed.namespace, feed.model, feed.line, "", ""


def _feeds(feeds: Iterable[Feed]) -> Iterator[Metric]:
    images = CounterMetricFamily("puzzle_monitor_input_images", "Images that arrived from a line.", labels=LABELS)
    late = HistogramMetricFamily(
        "puzzle_monitor_input_lateness_seconds", "From an image's time to its arrival here.", labels=LABELS
    )
    last = _gauge("input_last_image_timestamp_seconds", "When the last image arrived.")
    for feed in feeds:
        key = feed_key(feed)
        images.add_metric(key, feed.images)
        late.add_metric(key, buckets=cumulated(LATENESS_BOUNDS, feed.lateness), sum_value=feed.lateness_sum)
        last.add_metric(key, feed.last_received / 1e6)
    return iter((images, late, last))


def _health(verdicts: Iterable[tuple[Feed, Verdict]]) -> Iterator[Metric]:
    healthy = _gauge("input_healthy", "1 if the images of a line are as they should be; absent while that is unknown.")
    problem = _gauge("input_problem", "1 for each thing that is wrong with the images of a line.", "kind")
    for feed, found in verdicts:
        if found.healthy is not None:
            healthy.add_metric(feed_key(feed), float(found.healthy))
            now = {one.kind for one in found.problems}
            for kind in PROBLEM_KINDS:
                problem.add_metric((*feed_key(feed), kind), float(kind in now))
    return iter((healthy, problem))
