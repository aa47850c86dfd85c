"""Request counters of all models from Prometheus, in four queries however many models there are.

Two dialects are understood. Since Knative 1.17 or so, queue-proxy speaks OpenTelemetry:
`kn_serving_invocation_duration_seconds` with `http_response_status_code` (and only when the ConfigMap
config-observability sets `request-metrics-protocol: prometheus`). Before that it was `revision_request_count`
and `revision_request_latencies` in milliseconds, with `response_code`.

An OpenTelemetry counter does not exist before its first request. So that an idle revision is not taken for a
broken set-up, `up` of the queue-proxy targets says which revisions are scraped at all.

Every request that carries a code of 400 or more counts as failed, the client's mistakes included: canary and
champion get the same randomly routed traffic, so such noise raises both alike, while a model that begins to
refuse good images with 400 would go unseen otherwise.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from puzzle_common.durations import parse_duration
from puzzle_operator.api.analysis import Metric, MetricType
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import Counter, Missing, MissingKind, Reading

from . import monitored

Labels = Mapping[str, str]
Series = tuple[Labels, float]

_COUNTS = "kn_serving_invocation_duration_seconds_count|revision_request_count"
_BUCKETS = "kn_serving_invocation_duration_seconds_bucket|revision_request_latencies_bucket"
# What a label may be called, the usual name first.
_NAMESPACE = ("namespace", "namespace_name", "k8s_namespace_name")
_REVISION = ("revision", "revision_name", "kn_revision_name")
_POD = ("pod", "pod_name", "k8s_pod_name", "instance")
_CODE = ("http_response_status_code", "response_code")
_BY = ", ".join((*_NAMESPACE, *_REVISION, *_POD))
_RATES_FOR = 300.0
"""Seconds for which the lines' pace is not asked again."""
_HINT = (
    "is queue-proxy scraped (port 9091), and does the ConfigMap config-observability in knative-serving set "
    "request-metrics-protocol: prometheus?"
)


_PICTURE_RATE = (
    "quantile_over_time(0.9, ("
    + monitored.summed("rate(puzzle_monitor_predictions_total[5m])", "model_namespace, model")
    + ")[1d:5m])"
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the queries said, by (namespace, revision)."""

    counts: Mapping[tuple[str, str], tuple[Series, ...]] = field(default_factory=dict)
    buckets: Mapping[tuple[str, str], tuple[Series, ...]] = field(default_factory=dict)
    scraped: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Unix time of the latest good scrape."""
    complete: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """The same of the pod that was scraped first."""


class QueryError(Exception):
    """Prometheus did not give an answer."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing.reason)
        self.missing = missing


class PrometheusMetrics:
    """The `Metrics` port. Snapshots are shared by all models for a moment, so a hundred of them cost four
    queries."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        job: str = ".*queue-proxy.*",
        window: float = 2.0,
        stale_after: timedelta = timedelta(seconds=60),
        now: Callable[[], datetime],
        wall: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`job` is a regular expression of the jobs that scrape queue-proxy; `client` has the base URL.

        `wall` is the machine's clock, by which the age of a scrape is told, since Prometheus goes by one like it;
        without it that is `now`.
        """
        self._client = client
        self._job = job
        self._window = window
        self._stale_after = stale_after
        self._now = now
        self._wall = wall or now
        self._monotonic = monotonic
        self._namespaces: set[str] = set()
        self._cached: tuple[float, Snapshot | Missing] | None = None
        self._rates: tuple[float, Mapping[tuple[str, str], float]] | None = None
        self._customs: dict[str, tuple[float, tuple[Series, ...] | Missing]] = {}
        self._lock = asyncio.Lock()

    async def read(
        self, model: PuzzleModel, revisions: frozenset[str]
    ) -> tuple[Mapping[str, Reading | Missing], Reading | Missing]:
        snapshot = await self._snapshot(model.namespace)
        readings: dict[str, Reading | Missing] = {}
        for metric in model.spec.canary.analysis.metrics:
            if metric.type is MetricType.COUNTERS:
                readings[metric.name] = await self._custom(model, metric, revisions)
            elif metric.type in monitored.TYPES:
                readings[metric.name] = await self._monitored(model, metric, revisions)
            elif isinstance(snapshot, Missing):
                readings[metric.name] = snapshot
            elif metric.type is MetricType.LATENCY:
                readings[metric.name] = self._latency(model, metric, revisions, snapshot)
            else:
                readings[metric.name] = self._responses(model, revisions, snapshot)
        if isinstance(snapshot, Missing):
            return readings, snapshot
        return readings, self._responses(model, revisions, snapshot)

    # ------------------------------------------------------------ readings

    def _responses(self, model: PuzzleModel, revisions: frozenset[str], snapshot: Snapshot) -> Reading | Missing:
        counters = []
        for revision in sorted(revisions):
            pods: dict[str, list[float]] = {}
            for labels, value in snapshot.counts.get((model.namespace, revision), ()):
                pod = pods.setdefault(_first(labels, _POD), [0.0, 0.0])
                pod[0] += value
                pod[1] += value if _failed(_first(labels, _CODE)) else 0.0
            counters += [Counter(pod, revision, total, bad) for pod, (total, bad) in sorted(pods.items())]
        return self._reading(model, revisions, snapshot, counters, "")

    def _latency(
        self, model: PuzzleModel, metric: Metric, revisions: frozenset[str], snapshot: Snapshot
    ) -> Reading | Missing:
        slo = parse_duration(metric.slo or "0s").total_seconds()
        counters: list[Counter] = []
        bounds: set[float] = set()
        histograms = {}
        for revision in sorted(revisions):
            series = snapshot.buckets.get((model.namespace, revision), ())
            found, bound = slow_requests(series, slo)
            histograms[revision] = histogram(series)
            if found and math.isinf(bound):
                reason = f"slo {metric.slo} is above the largest bucket of the histogram; set a smaller one"
                return Missing(MissingKind.ABSENT, reason)
            if found:
                bounds.add(bound)
            counters += [Counter(pod, revision, total, bad) for pod, (total, bad) in sorted(found.items())]
        note = ""
        if bounds and max(bounds) > slo + 1e-9:
            note = f"counted above {max(bounds):g} s, the next bucket bound"
        reading = self._reading(model, revisions, snapshot, counters, note)
        return replace(reading, histograms=histograms) if isinstance(reading, Reading) else reading

    def _reading(
        self,
        model: PuzzleModel,
        revisions: frozenset[str],
        snapshot: Snapshot,
        counters: list[Counter],
        note: str,
    ) -> Reading | Missing:
        times = {
            revision: snapshot.scraped[model.namespace, revision]
            for revision in revisions
            if (model.namespace, revision) in snapshot.scraped
        }
        if not times:
            names = ", ".join(sorted(revisions)) or "no revision"
            return Missing(MissingKind.ABSENT, f"no scrape of {names}: {_HINT}")
        newest = datetime.fromtimestamp(max(times.values()), UTC)
        age = self._wall() - newest
        if age > self._stale_after:
            reason = f"the newest scrape is {age.total_seconds():.0f} s old"
            return Missing(MissingKind.UNAVAILABLE, reason)
        oldest = newest - self._stale_after
        fresh = frozenset(r for r, at in times.items() if at >= oldest.timestamp())
        kept = tuple(c for c in counters if c.revision in fresh)
        complete = min(snapshot.complete[model.namespace, revision] for revision in fresh)
        return Reading(kept, fresh, newest, note, complete=datetime.fromtimestamp(complete, UTC))

    async def _custom(self, model: PuzzleModel, metric: Metric, revisions: frozenset[str]) -> Reading | Missing:
        try:
            bad = by_series(await self._shared_query(metric.bad or ""), model.namespace)
            total = by_series(await self._shared_query(metric.total or ""), model.namespace)
        except QueryError as exc:
            return exc.missing
        counters = tuple(
            Counter(series, revision, count, min(bad.get((revision, series), 0.0), count))
            for (revision, series), count in sorted(total.items())
            if revision in revisions
        )
        if not counters:
            reason = "its total returns no series with the labels namespace and revision of this model"
            return Missing(MissingKind.ABSENT, reason)
        return Reading(counters, frozenset(c.revision for c in counters), self._now())

    async def _monitored(self, model: PuzzleModel, metric: Metric, revisions: frozenset[str]) -> Reading | Missing:
        """What the monitor counts: it lives in a database, so pods that come and go are nothing to it."""
        try:
            found = [await self._shared_query(promql) for promql in monitored.queries(metric)]
        except QueryError as exc:
            return exc.missing
        return monitored.reading(model, metric, revisions, found, self._now())

    async def picture_rate(self, model: PuzzleModel) -> float | None:
        """The pace of the busy tenth of the last day, so that nights and breaks count for nothing; asked for all models
        together, and kept for a while."""
        if self._rates is None or self._monotonic() - self._rates[0] >= _RATES_FOR:
            kept = self._rates[1] if self._rates is not None else {}
            try:
                async with asyncio.timeout(1.0):
                    kept = {_model_of(labels): value for labels, value in await self._query(_PICTURE_RATE)}
            except (QueryError, TimeoutError):
                pass  # what was known is kept, or nobody knows
            self._rates = (self._monotonic(), kept)
        return self._rates[1].get((model.namespace, model.name))

    # ------------------------------------------------------------ queries

    async def _snapshot(self, namespace: str) -> Snapshot | Missing:
        async with self._lock:
            known = namespace in self._namespaces
            self._namespaces.add(namespace)
            if known and self._cached is not None and self._monotonic() - self._cached[0] < self._window:
                return self._cached[1]
            try:
                found: Snapshot | Missing = await self._fetch()
            except QueryError as exc:
                found = exc.missing
            self._cached = (self._monotonic(), found)
            return found

    async def _fetch(self) -> Snapshot:
        where = f'namespace=~"{"|".join(sorted(self._namespaces))}"'
        up = f'up{{job=~"{self._job}", {where}}}'
        codes, counted = ", ".join(_CODE), f'{{__name__=~"{_COUNTS}", {where}}}'
        counts, buckets, scraped = await asyncio.gather(
            self._query(f"sum by (__name__, {_BY}, {codes}) ({counted})"),
            self._query(f'sum by (__name__, {_BY}, le) ({{__name__=~"{_BUCKETS}", {where}}})'),
            self._query(f"timestamp({up}) and ({up} == 1)"),
        )
        times: dict[tuple[str, str], list[float]] = {}
        for labels, at in scraped:
            times.setdefault(_key(labels), []).append(at)
        latest, first = ({key: pick(found) for key, found in times.items()} for pick in (max, min))
        return Snapshot(_grouped(counts), _grouped(buckets), latest, first)

    async def _shared_query(self, promql: str) -> tuple[Series, ...]:
        """As `_query`; the same text is asked once for all models within the window."""
        async with self._lock:
            cached = self._customs.get(promql)
            if cached is None or self._monotonic() - cached[0] >= self._window:
                try:
                    answer: tuple[Series, ...] | Missing = await self._query(promql)
                except QueryError as exc:
                    answer = exc.missing
                if len(self._customs) > 1000:
                    self._customs.clear()
                cached = (self._monotonic(), answer)
                self._customs[promql] = cached
            if isinstance(cached[1], Missing):
                raise QueryError(cached[1])
            return cached[1]

    async def _query(self, promql: str) -> tuple[Series, ...]:
        """An instant query.

        Raises:
            QueryError: UNAVAILABLE when Prometheus does not answer, ABSENT when it does not understand the
            query.
        """
        try:
            answer = await self._client.post("/api/v1/query", data={"query": promql})
            body: Any = answer.json()
        except (httpx.HTTPError, ValueError) as exc:
            reason = f"Prometheus at {self._client.base_url} does not answer ({type(exc).__name__})"
            raise QueryError(Missing(MissingKind.UNAVAILABLE, reason)) from exc
        if not isinstance(body, dict) or answer.status_code >= 500:
            reason = f"Prometheus answers {answer.status_code}"
            raise QueryError(Missing(MissingKind.UNAVAILABLE, reason))
        if body.get("status") != "success":
            kind = MissingKind.ABSENT if answer.status_code in {400, 422} else MissingKind.UNAVAILABLE
            raise QueryError(Missing(kind, f"Prometheus refuses the query: {body.get('error', 'no reason given')}"))
        data = body.get("data") or {}
        if data.get("resultType") != "vector":
            reason = f"the query returns a {data.get('resultType')}, not one value for each series"
            raise QueryError(Missing(MissingKind.ABSENT, reason))
        values = ((item["metric"], float(item["value"][1])) for item in data["result"])
        return tuple((labels, value) for labels, value in values if math.isfinite(value))


# ---------------------------------------------------------------- pure helpers


def slow_requests(series: Iterable[Series], slo: float) -> tuple[dict[str, tuple[float, float]], float]:
    """(all, slow) requests by pod from the buckets of a histogram, and the bound in seconds that was used.

    The bound is the smallest one that is not below `slo`: a request between the two passes as fast, never the
    other way round. Infinity means that no finite bound is that large.
    """
    pods: dict[str, dict[float, float]] = {}
    for labels, value in series:
        le = _upper_bound(labels)
        bounds = pods.setdefault(_first(labels, _POD), {})
        bounds[le] = bounds.get(le, 0.0) + value
    known = sorted({le for bounds in pods.values() for le in bounds})
    bound = next((le for le in known if le >= slo - 1e-9), math.inf)
    found = {}
    for pod, bounds in pods.items():
        total = bounds.get(math.inf, 0.0)
        found[pod] = (total, max(0.0, total - bounds.get(bound, total)))
    return found, bound


def histogram(series: Iterable[Series]) -> tuple[tuple[float, int], ...]:
    """(upper bound in seconds, requests at or below it) over all pods, rising."""
    counts: dict[float, float] = {}
    for labels, value in series:
        le = _upper_bound(labels)
        counts[le] = counts.get(le, 0.0) + value
    return tuple((le, round(counts[le])) for le in sorted(counts))


def _upper_bound(labels: Labels) -> float:
    """Seconds; the older dialect counts in milliseconds."""
    le = float(labels.get("le", "inf"))
    return le / 1000.0 if labels.get("__name__", "").startswith("revision_request_latencies") else le


def _grouped(series: Iterable[Series]) -> dict[tuple[str, str], tuple[Series, ...]]:
    """By (namespace, revision). Where a revision speaks both dialects, the newer one counts."""
    groups: dict[tuple[str, str], list[Series]] = {}
    for labels, value in series:
        groups.setdefault(_key(labels), []).append((labels, value))
    for key, found in groups.items():
        modern = [item for item in found if item[0].get("__name__", "").startswith("kn_serving")]
        groups[key] = modern or found
    return {key: tuple(found) for key, found in groups.items()}


def by_series(series: Iterable[Series], namespace: str) -> dict[tuple[str, str], float]:
    """Values of one namespace by (revision, pod); without a label pod the revision stands in for it."""
    totals: dict[tuple[str, str], float] = {}
    for labels, value in series:
        found, revision = _key(labels)
        if found == namespace and revision:
            key = (revision, labels.get("pod") or revision)
            totals[key] = totals.get(key, 0.0) + value
    return totals


def _key(labels: Labels) -> tuple[str, str]:
    return _first(labels, _NAMESPACE), _first(labels, _REVISION)


def _first(labels: Labels, names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _failed(code: str) -> bool:
    return code.isdigit() and int(code) >= 400


def _model_of(labels: Labels) -> tuple[str, str]:
    return labels.get("model_namespace", ""), labels.get("model", "")
