"""Prometheus's answers, as recorded from real ones, to readings; every kind of silence to its own
`Missing`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from puzzle_operator.adapters.prometheus import PrometheusMetrics, slow_requests
from puzzle_operator.core.facts import Counter, Missing, MissingKind, Reading
from tests.builders import T0, a_model

R1, R2 = "line-1-predictor-00001", "line-1-predictor-00002"
COMMON = {"namespace": "lyon", "puzzlemodel": "line-1", "job": "knative-queue-proxy"}
Answer = Callable[[str], httpx.Response]


def vector(*series: tuple[dict[str, str], float]) -> httpx.Response:
    result = [{"metric": labels, "value": [T0.timestamp(), str(value)]} for labels, value in series]
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": result}})


def count(revision: str, pod: str, code: str, value: float) -> tuple[dict[str, str], float]:
    name = "kn_serving_invocation_duration_seconds_count"
    return {**COMMON, "__name__": name, "revision": revision, "pod": pod, "http_response_status_code": code}, value


def bucket(revision: str, pod: str, le: str, value: float) -> tuple[dict[str, str], float]:
    name = "kn_serving_invocation_duration_seconds_bucket"
    return {**COMMON, "__name__": name, "revision": revision, "pod": pod, "le": le}, value


def scrape(revision: str, seconds_ago: float = 3.0) -> tuple[dict[str, str], float]:
    at = (T0 - timedelta(seconds=seconds_ago)).timestamp()
    return {**COMMON, "revision": revision, "pod": f"{revision}-pod"}, at


def modern(query: str) -> httpx.Response:
    if query.startswith("timestamp(up"):
        return vector(scrape(R1), scrape(R2))
    if "_count" in query:
        return vector(
            count(R1, "a", "200", 90), count(R1, "a", "500", 6), count(R1, "a", "404", 4), count(R1, "b", "200", 50)
        )
    return vector(
        bucket(R1, "a", "0.25", 80),
        bucket(R1, "a", "0.5", 95),
        bucket(R1, "a", "+Inf", 100),
        bucket(R1, "b", "0.25", 50),
        bucket(R1, "b", "0.5", 50),
        bucket(R1, "b", "+Inf", 50),
    )


class Asked:
    """A Prometheus that remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.queries: list[str] = []
        self.clock = 0.0

    def handle(self, request: httpx.Request) -> httpx.Response:
        query = parse_qs(request.content.decode())["query"][0]
        self.queries.append(query)
        return self.answer(query)

    def metrics(self, now: datetime = T0) -> PrometheusMetrics:
        client = httpx.AsyncClient(base_url="http://prometheus", transport=httpx.MockTransport(self.handle))
        return PrometheusMetrics(client, now=lambda: now, monotonic=lambda: self.clock)


def read(answer: Answer, *, now: datetime = T0, **analysis: Any) -> tuple[dict[str, Reading | Missing], Any]:
    model = a_model().analysis(**analysis).build()
    found, guard = asyncio.run(Asked(answer).metrics(now).read(model, frozenset({R1, R2})))
    return dict(found), guard


def test_every_code_of_400_or_more_is_a_failure_and_pods_are_kept_apart() -> None:
    found, guard = read(modern)
    errors = found["errors"]
    assert isinstance(errors, Reading)
    assert errors.counters == (Counter("a", R1, 100, 10), Counter("b", R1, 50, 0))
    assert guard == errors


def test_an_idle_revision_is_scraped_and_has_no_counter() -> None:
    errors = read(modern)[0]["errors"]
    assert isinstance(errors, Reading)
    assert R2 in errors.scraped
    assert all(counter.revision != R2 for counter in errors.counters)
    assert errors.at == T0 - timedelta(seconds=3)


def test_a_slow_request_is_one_above_the_next_bucket_bound_and_the_reading_says_so() -> None:
    metric = {"name": "slow", "type": "Latency", "slo": "300ms", "maxRiskRatio": 2}
    slow = read(modern, metrics=[metric])[0]["slow"]
    assert isinstance(slow, Reading)
    assert slow.counters == (Counter("a", R1, 100, 5), Counter("b", R1, 50, 0))
    assert slow.note == "counted above 0.5 s, the next bucket bound"


def test_a_latency_reading_has_the_whole_histogram_of_each_revision() -> None:
    metric = {"name": "slow", "type": "Latency", "slo": "250ms", "maxRiskRatio": 2}
    slow = read(modern, metrics=[metric])[0]["slow"]
    assert isinstance(slow, Reading)
    assert slow.histograms[R1] == ((0.25, 130), (0.5, 145), (math.inf, 150))


LABELS = {"name": "wrong", "type": "LabelledErrors", "maxRiskRatio": 1.2}


def monitored(labelled: float, wrong: float, model: str = "line-1") -> Answer:
    def answer(query: str) -> httpx.Response:
        labels = {"model_namespace": "lyon", "model": model, "revision": R1}
        if "puzzle_monitor_wrong_total" in query:
            return vector((labels, wrong))
        return vector((labels, labelled)) if "puzzle_monitor_labelled_total" in query else modern(query)

    return answer


def test_labelled_errors_are_those_that_the_monitor_counts() -> None:
    found = read(monitored(400, 6), metrics=[LABELS])[0]["wrong"]
    assert isinstance(found, Reading)
    assert found.counters == (Counter(R1, R1, 400, 6, lasting=True),)
    assert found.scraped == {R1, R2}, "a challenger whose pieces nobody has labelled yet is idle, not unknown"


def test_replicas_of_the_monitor_are_no_parts_of_a_sum() -> None:
    asked = Asked(monitored(400, 6))
    asyncio.run(asked.metrics().read(a_model().analysis(metrics=[LABELS]).build(), frozenset({R1})))
    labels = "model_namespace, model, revision"
    for name in ("labelled", "wrong"):
        series = f"puzzle_monitor_{name}_total"
        assert f"sum by ({labels}) (max without (instance, pod) ({series}))" in asked.queries


UNSURE = {"name": "unsure", "type": "Confidence", "below": 0.6, "maxRiskRatio": 2}


def confident(*buckets: tuple[str, float], revision: str = R1, model: str = "line-1") -> Answer:
    def answer(query: str) -> httpx.Response:
        if "puzzle_monitor_confidence_bucket" not in query:
            return modern(query)
        labels = {"model_namespace": "lyon", "model": model, "revision": revision}
        return vector(*(({**labels, "le": le}, value) for le, value in buckets))

    return answer


def test_unsure_predictions_are_those_up_to_the_bound_in_the_monitors_histogram() -> None:
    found = read(confident(("0.5", 3), ("0.6", 12), ("0.9", 40), ("+Inf", 400)), metrics=[UNSURE])[0]["unsure"]
    assert isinstance(found, Reading)
    assert found.counters == (Counter(R1, R1, 400, 12, lasting=True),)


def test_a_revision_of_which_no_prediction_is_on_record_is_unknown_and_not_idle() -> None:
    found = read(confident(("0.6", 12), ("+Inf", 400)), metrics=[UNSURE])[0]["unsure"]
    assert isinstance(found, Reading)
    assert found.scraped == {R1}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (confident(("0.6", 1), ("+Inf", 9), model="another"), "does puzzle-monitor run"),
        (confident(("0.5", 1), ("+Inf", 9)), "has no bound 0.6"),
        (confident(("0.6", 1)), "has no bound 0.6"),
    ],
)
def test_a_histogram_that_does_not_say_is_named(answer: Answer, said: str) -> None:
    found = read(answer, metrics=[UNSURE])[0]["unsure"]
    assert isinstance(found, Missing)
    assert (found.kind, said in found.reason) == (MissingKind.ABSENT, True)


def test_two_bounds_are_one_query_for_all_models() -> None:
    asked = Asked(confident(("0.5", 3), ("0.6", 12), ("+Inf", 400)))
    metrics = [UNSURE, {**UNSURE, "name": "lost", "below": 0.5}]
    found, _ = asyncio.run(asked.metrics().read(a_model().analysis(metrics=metrics).build(), frozenset({R1})))
    assert [one.counters[0].bad for one in found.values() if isinstance(one, Reading)] == [12, 3]
    series = "max without (instance, pod) (puzzle_monitor_confidence_bucket)"
    assert asked.queries.count(f"sum by (model_namespace, model, revision, le) ({series})") == 1


def test_the_lines_pace_is_asked_once_for_all_models_and_kept() -> None:
    def answer(query: str) -> httpx.Response:
        assert "puzzle_monitor_predictions_total" in query
        if asked.clock > 300:
            return httpx.Response(503)
        return vector(({"model_namespace": "lyon", "model": "line-1"}, 12.5))

    async def rates() -> list[float | None]:
        found = [await metrics.picture_rate(a_model(name).build()) for name in ("line-1", "line-2")]
        asked.clock = 301.0
        return [*found, await metrics.picture_rate(a_model().build())]

    asked = Asked(answer)
    metrics = asked.metrics()
    assert asyncio.run(rates()) == [12.5, None, 12.5], "what was known is kept through an outage"
    assert len(asked.queries) == 2


def test_without_any_label_the_monitor_is_named() -> None:
    found = read(monitored(400, 6, model="another"), metrics=[LABELS])[0]["wrong"]
    assert isinstance(found, Missing)
    assert (found.kind, "puzzle-monitor" in found.reason) == (MissingKind.ABSENT, True)


def test_an_slo_on_a_bound_needs_no_note() -> None:
    metric = {"name": "slow", "type": "Latency", "slo": "250ms", "maxRiskRatio": 2}
    slow = read(modern, metrics=[metric])[0]["slow"]
    assert isinstance(slow, Reading)
    assert (slow.counters[0].bad, slow.note) == (20, "")


def test_an_slo_above_every_bound_is_refused() -> None:
    metric = {"name": "slow", "type": "Latency", "slo": "30s", "maxRiskRatio": 2}
    slow = read(modern, metrics=[metric])[0]["slow"]
    assert slow == Missing(
        MissingKind.ABSENT, "slo 30s is above the largest bucket of the histogram; set a smaller one"
    )


def test_the_older_dialect_of_knative_is_understood_in_milliseconds() -> None:
    def older(query: str) -> httpx.Response:
        labels = {"namespace_name": "lyon", "revision_name": R1, "pod_name": "a"}
        if query.startswith("timestamp(up"):
            return vector(scrape(R1))
        if "_count" in query:
            name = {"__name__": "revision_request_count"}
            return vector(
                ({**labels, **name, "response_code": "200"}, 9), ({**labels, **name, "response_code": "503"}, 1)
            )
        name = {"__name__": "revision_request_latencies_bucket"}
        return vector(({**labels, **name, "le": "500"}, 7), ({**labels, **name, "le": "+Inf"}, 10))

    found, _ = read(older)
    errors, slow = found["errors"], found["slow"]
    assert isinstance(errors, Reading) and isinstance(slow, Reading)
    assert errors.counters == (Counter("a", R1, 10, 1),)
    assert slow.counters == (Counter("a", R1, 10, 3),)


def test_where_both_dialects_speak_nothing_is_counted_twice() -> None:
    def both(query: str) -> httpx.Response:
        if query.startswith("timestamp(up"):
            return vector(scrape(R1))
        if "_count" in query:
            old = {**COMMON, "__name__": "revision_request_count", "revision": R1, "pod": "a", "response_code": "200"}
            return vector(count(R1, "a", "200", 7), (old, 7))
        return vector()

    errors = read(both)[0]["errors"]
    assert isinstance(errors, Reading)
    assert errors.counters == (Counter("a", R1, 7, 0),)


def test_nothing_scraped_is_absent_and_says_what_to_set() -> None:
    errors = read(lambda _: vector())[0]["errors"]
    assert isinstance(errors, Missing)
    assert errors.kind is MissingKind.ABSENT
    assert "request-metrics-protocol: prometheus" in errors.reason


def test_old_scrapes_are_an_outage() -> None:
    errors = read(modern, now=T0 + timedelta(seconds=120))[0]["errors"]
    assert errors == Missing(MissingKind.UNAVAILABLE, "the newest scrape is 123 s old")


def test_a_revision_that_is_no_longer_scraped_does_not_hide_behind_the_other() -> None:
    def one_stale(query: str) -> httpx.Response:
        if query.startswith("timestamp(up"):
            return vector(scrape(R1), scrape(R2, seconds_ago=200))
        return modern(query)

    errors = read(one_stale)[0]["errors"]
    assert isinstance(errors, Reading)
    assert errors.scraped == frozenset({R1})


def _refused(_: str) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


OUTAGES: dict[str, Answer] = {
    "it does not answer": _refused,
    "it answers 503": lambda _: httpx.Response(503, text="starting"),
    "a proxy answers with a page": lambda _: httpx.Response(200, text="<html>"),
    "the query timed out inside": lambda _: httpx.Response(
        503, json={"status": "error", "errorType": "timeout", "error": "query timed out"}
    ),
}


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES.keys())
def test_an_outage_is_a_value_for_every_metric(answer: Answer) -> None:
    found, guard = read(answer)
    for missing in (*found.values(), guard):
        assert isinstance(missing, Missing)
        assert missing.kind is MissingKind.UNAVAILABLE


CUSTOM = {"name": "unsure", "type": "Counters", "bad": "bad_total", "total": "all_total", "maxRiskRatio": 2}


def test_counters_of_ones_own_are_read_by_revision_and_pod() -> None:
    def answer(query: str) -> httpx.Response:
        if query == "bad_total":
            return vector(({**COMMON, "revision": R1, "pod": "a"}, 3))
        if query == "all_total":
            other = {"namespace": "metz", "revision": R1, "pod": "z"}
            return vector(({**COMMON, "revision": R1, "pod": "a"}, 10), ({**COMMON, "revision": R2}, 4), (other, 9))
        return modern(query)

    unsure = read(answer, metrics=[CUSTOM])[0]["unsure"]
    assert isinstance(unsure, Reading)
    assert unsure.counters == (Counter("a", R1, 10, 3), Counter(R2, R2, 4, 0))


def test_a_mistyped_query_is_absent_with_prometheuss_own_words() -> None:
    def answer(query: str) -> httpx.Response:
        if query == "bad_total":
            return httpx.Response(400, json={"status": "error", "error": "parse error: unexpected }"})
        return modern(query)

    unsure = read(answer, metrics=[CUSTOM])[0]["unsure"]
    assert unsure == Missing(MissingKind.ABSENT, "Prometheus refuses the query: parse error: unexpected }")


def test_a_query_without_series_or_of_the_wrong_kind_is_absent() -> None:
    scalar = httpx.Response(200, json={"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}})
    for answer in (lambda q: vector() if "total" in q else modern(q), lambda q: scalar if "_total" in q else modern(q)):
        unsure = read(answer, metrics=[CUSTOM])[0]["unsure"]
        assert isinstance(unsure, Missing)
        assert unsure.kind is MissingKind.ABSENT


def test_a_hundred_models_share_the_queries_of_one_moment() -> None:
    asked = Asked(modern)

    async def everybody() -> None:
        metrics = asked.metrics()
        models = [a_model(f"line-{n}").analysis(metrics=[CUSTOM]).build() for n in range(100)]
        await asyncio.gather(*(metrics.read(model, frozenset({R1})) for model in models))

    asyncio.run(everybody())
    assert len(asked.queries) == 5, "three of all models, two of the custom metric"


def test_a_new_namespace_and_a_later_moment_are_asked_for() -> None:
    asked = Asked(modern)

    async def story() -> None:
        metrics = asked.metrics()
        await metrics.read(a_model(namespace="lyon").build(), frozenset({R1}))
        await metrics.read(a_model(namespace="metz").build(), frozenset({R1}))
        asked.clock = 10.0
        await metrics.read(a_model(namespace="lyon").build(), frozenset({R1}))

    asyncio.run(story())
    assert len(asked.queries) == 9
    assert 'namespace=~"lyon|metz"' in asked.queries[-1]


def test_a_histogram_without_a_finite_bound_above_the_slo_has_none() -> None:
    found, bound = slow_requests([bucket(R1, "a", "+Inf", 5)], 0.1)
    assert found == {"a": (5, 0.0)}
    assert bound == float("inf")


def test_times_are_in_utc() -> None:
    errors = read(modern)[0]["errors"]
    assert isinstance(errors, Reading)
    assert errors.at.tzinfo is UTC
