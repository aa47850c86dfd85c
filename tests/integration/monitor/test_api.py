"""The API over real HTTP on both engines: what is answered, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.monitor.live import CLASSES, Server, a_label, a_record, bearer, send

JPEG = b"\xff\xd8\xff\xe0" + bytes(500) + b"\xff\xd9"
SERIES = {"model_namespace", "model", "line", "revision", "version"}
_numbers = count()


@pytest.fixture
def model() -> Iterator[str]:
    """A name that no other test uses."""
    yield f"model-{next(_numbers)}"


def in_minutes(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def metrics(server: Server, model: str) -> dict[str, float]:
    """The counts of a model, by name and what labels there are beside those of a series."""
    found = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            if sample.labels.get("model") == model:
                assert sample.labels.keys() >= SERIES
                rest = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k not in SERIES)
                found[f"{sample.name}{{{rest}}}"] = sample.value
    return found


def test_a_piece_from_its_prediction_to_the_training_data(live: Server, model: str) -> None:
    good, bad, unlabelled = a_record("ok", model=model), a_record("ok", model=model), a_record("stain", model=model)
    good["embedding"] = [0.25, -1.0]
    with live.client("handler") as handler, live.client("inspector") as inspector:
        assert send(handler, [good, bad, unlabelled]) == {"stored": 3, "duplicates": 0, "expired": 0, "conflicts": []}
        assert send(handler, [good])["duplicates"] == 1
        one = inspector.post("/v1/feedback", json=a_label(good["id"], "ok", note="clean"))
        assert one.json() == {"stored": 1, "waiting": 0, "duplicates": 0, "expired": 0, "unknown_labels": []}
        many = inspector.post("/v1/feedback", json=[a_label(bad["id"], "ok"), a_label(bad["id"], "scratch")])
        assert many.json()["stored"] == 2
        shown = inspector.get(f"/v1/predictions/{bad['id']}").json()
        assert shown["truth"] == "scratch" and [item["label"] for item in shown["feedback"]] == ["ok", "scratch"]
        report = inspector.get("/v1/accuracy", params={"model": model, "window": "15m"}).json()
        assert (report["predictions"], report["labelled"], report["wrong"], report["accuracy"]) == (3, 2, 1, 0.5)
        assert {"label": "ok", "truth": "scratch", "count": 1} in report["confusion"]
        assert [item["revision"] for item in report["revisions"]] == ["line-1-predictor-00001"]
    with live.client("trainer") as trainer:
        lines = trainer.get("/v1/export", params={"model": model, "embeddings": True}).text.splitlines()
        rows = [json.loads(line) for line in lines]
        assert [(row["id"], row["truth"]) for row in rows] == [(good["id"], "ok"), (bad["id"], "scratch")]
        assert rows[0]["embedding"] == [0.25, -1.0] and rows[1]["embedding"] is None


def test_metrics_have_exactly_the_labels_that_the_operator_asks_for(live: Server, model: str) -> None:
    sure, unsure = a_record("ok", model=model), a_record("stain", model=model, confidence=0.55)
    with live.client("handler") as handler, live.client("inspector") as inspector:
        send(handler, [sure, unsure])
        inspector.post("/v1/feedback", json=[a_label(sure["id"], "stain"), a_label(unsure["id"], "something-else")])
        found = metrics(live, model)
        assert found["puzzle_monitor_predictions_total{}"] == found["puzzle_monitor_labelled_total{}"] == 2
        assert found["puzzle_monitor_wrong_total{}"] == 2
        assert found["puzzle_monitor_predicted_total{label=stain}"] == 1
        assert found["puzzle_monitor_class_total{label=ok,truth=stain}"] == 1
        assert found["puzzle_monitor_class_total{label=stain,truth=other}"] == 1
        assert found["puzzle_monitor_confidence_bucket{le=0.6}"] == 1
        assert found["puzzle_monitor_confidence_bucket{le=+Inf}"] == found["puzzle_monitor_confidence_count{}"] == 2
        assert found["puzzle_monitor_confidence_sum{}"] == pytest.approx(1.46)
        later = a_label(sure["id"], "ok", at=in_minutes(5))
        assert inspector.post("/v1/feedback", json=later).json()["stored"] == 1
        corrected = metrics(live, model)
        assert corrected["puzzle_monitor_wrong_total{}"] == 2, "a counter never falls"
        assert corrected["puzzle_monitor_confusion{label=ok,truth=stain}"] == 0
        assert corrected["puzzle_monitor_confusion{label=ok,truth=ok}"] == 1


def test_feedback_in_bulk_as_csv_also_before_its_predictions(live: Server, model: str) -> None:
    records = [a_record("ok", model=model) for _ in range(300)]
    rows = [f"{one['id']};{'ok' if n % 10 else 'stain'};Ana;{in_minutes(n - 400)}" for n, one in enumerate(records)]
    table = "\r\n".join(["\ufeffprediction_id;label;who;at", *rows, ""]).encode()
    with live.client("handler") as handler, live.client("inspector") as inspector:
        headers = {"Content-Type": "text/csv; charset=utf-8"}
        assert inspector.post("/v1/feedback", content=table, headers=headers).json()["waiting"] == 300
        send(handler, records)
        assert inspector.post("/v1/feedback", content=table, headers=headers).json()["duplicates"] == 300
        report = inspector.get("/v1/accuracy", params={"model": model}).json()
        assert (report["labelled"], report["wrong"]) == (300, 30)


def test_lists_go_on_where_the_page_before_ended(live: Server, model: str) -> None:
    records = [a_record(CLASSES[n % 4], model=model) for n in range(25)]
    with live.client("handler") as handler, live.client("trainer") as trainer:
        send(handler, records)
        seen: list[str] = []
        query: dict[str, Any] = {"model": model, "limit": 10, "labelled": False}
        while True:
            page = trainer.get("/v1/predictions", params=query).json()
            seen += [item["id"] for item in page["predictions"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert len(seen) == 25 and set(seen) == {one["id"] for one in records}


def test_a_picture_is_kept_once_and_never_replaced(live: Server, model: str) -> None:
    one = a_record(model=model)
    path, kind = f"/v1/predictions/{one['id']}/image", {"Content-Type": "image/jpeg"}
    with live.client("handler") as handler, live.client("trainer") as trainer:
        assert handler.put(path, content=JPEG, headers=kind).status_code == 404
        send(handler, [one])
        assert trainer.get(path).status_code == 404
        assert handler.put(path, content=JPEG, headers=kind).json() == {"stored": True}
        assert handler.put(path, content=JPEG, headers=kind).json() == {"stored": False}
        assert handler.put(path, content=JPEG + b"x", headers=kind).status_code == 409
        assert handler.put(path, content=b"GIF89a", headers=kind).status_code == 422
        found = trainer.get(path)
        assert found.content == JPEG and found.headers["content-type"] == "image/jpeg"
        assert trainer.get(f"/v1/predictions/{one['id']}").json()["has_image"] is True


WRONG: list[tuple[str, dict[str, Any] | bytes, int, str]] = [
    ("not JSON", b"{", 400, "the body is not JSON"),
    ("empty", b"", 400, "the body is empty"),
    ("no records", {"records": []}, 422, "records: has 0 entries"),
    ("too many", {"records": [a_record() for _ in range(1001)]}, 422, "records: has 1,001 entries; send 1 to 1,000"),
    ("a field is missing", {"records": [{k: v for k, v in a_record().items() if k != "line"}]}, 422, "records[0].line"),
    ("an unknown field", {"records": [a_record() | {"colour": 1}]}, 422, "records[0].colour"),
    ("a number as text", {"records": [a_record() | {"confidence": "0.9"}]}, 422, "records[0].confidence"),
    ("not a number", json.dumps({"records": [a_record() | {"confidence": float("nan")}]}).encode(), 422, "confidence"),
    ("no time zone", {"records": [a_record(at="2026-11-23T08:00:00")]}, 422, "records[0].at"),
    (
        "the future",
        {"records": [a_record(), a_record(at="2126-11-23T08:00:00Z")]},
        422,
        "records[1].at: lies in the future",
    ),
    ("a clock at 1970", {"records": [a_record(at="1970-01-01T00:00:00Z")]}, 422, "before the year 2000"),
    ("probabilities", {"records": [a_record() | {"probabilities": {"ok": 0.4}}]}, 422, "probabilities sum to 0.4"),
    ("label", {"records": [a_record() | {"label": "odd"}]}, 422, "label 'odd' is none of the classes"),
    ("a zero byte", {"records": [a_record(line="a\0b")]}, 422, "records[0].line"),
    ("half a character", b'{"records": [{"id": "\\ud800"}]}', 400, "the body is not JSON"),
    ("an id with a slash", {"records": [a_record(id="../x")]}, 422, "records[0].id"),
    ("a huge embedding", {"records": [a_record() | {"embedding": [1e300]}]}, 422, "records[0].embedding[0]"),
    ("too deep", b'{"records":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "the body is not JSON"),
]


@pytest.mark.parametrize(("name", "body", "status", "words"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_batch_names_the_field_and_changes_nothing(
    live: Server, name: str, body: dict[str, Any] | bytes, status: int, words: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    before = metrics(live, "line-1")
    with live.client("handler") as handler:
        answer = handler.post("/v1/predictions", content=content, headers={"Content-Type": "application/json"})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), problem
    assert words in json.dumps(problem), problem
    assert metrics(live, "line-1") == before == {}


WRONG_LABELS: list[tuple[str, str, bytes, int, str]] = [
    ("a column is missing", "text/csv", b"prediction_id,label,who\nx,ok,me\n", 422, "at: this column is missing"),
    ("an unknown column", "text/csv", b"prediction_id,label,who,at,colour\n", 422, "colour: no such column"),
    (
        "one bad line",
        "text/csv",
        b"prediction_id,label,who,at\na,ok,me,2026-01-01T00:00:00Z\nb,ok,me,x\n",
        422,
        "line 3.at",
    ),
    ("a short line", "text/csv", b"prediction_id,label,who,at\na,ok\n", 422, "line 2: has 2 columns"),
    ("not UTF-8", "text/csv", b"prediction_id,label,who,at\na,\xe9,me,2026-01-01T00:00:00Z\n", 400, "not UTF-8"),
    ("no lines", "text/csv", b"prediction_id,label,who,at\n", 422, "has no lines below"),
    ("an empty list", "application/json", b"[]", 422, "has 0 entries"),
    ("not feedback", "application/json", b"3", 422, "body"),
    (
        "a future label",
        "application/json",
        json.dumps(a_label("a", "ok", at="2126-01-01T00:00:00Z")).encode(),
        422,
        "at: ",
    ),
    ("a form", "application/x-www-form-urlencoded", b"a=b", 415, "send application/json or text/csv"),
]


@pytest.mark.parametrize(
    ("name", "kind", "body", "status", "words"), WRONG_LABELS, ids=[row[0] for row in WRONG_LABELS]
)
def test_wrong_feedback_names_line_and_column(
    live: Server, name: str, kind: str, body: bytes, status: int, words: str
) -> None:
    with live.client("inspector") as inspector:
        answer = inspector.post("/v1/feedback", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status and words in answer.json()["detail"], answer.text


def test_large_bodies_are_cut_off_however_they_are_sent(live: Server) -> None:
    size = 5 * 1024 * 1024
    with live.client("handler") as handler:
        whole = handler.post("/v1/predictions", content=b" " * size, headers={"Content-Type": "application/json"})
        parts = (b" " * 65_536 for _ in range(size // 65_536))
        chunked = handler.post("/v1/predictions", content=parts, headers={"Content-Type": "application/json"})
        packed = handler.post(
            "/v1/predictions", content=b"x", headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
        )
    assert whole.status_code == chunked.status_code == 413 and "larger than 4,194,304 bytes" in whole.json()["detail"]
    assert packed.status_code == 415


@pytest.mark.parametrize(
    ("token", "method", "path", "status"),
    [
        (None, "POST", "/v1/predictions", 401),
        ("inspector", "POST", "/v1/predictions", 403),
        ("trainer", "POST", "/v1/feedback", 403),
        ("handler", "POST", "/v1/feedback", 403),
        ("handler", "GET", "/v1/predictions", 403),
        ("handler", "GET", "/v1/export", 403),
        ("inspector", "PUT", "/v1/predictions/x/image", 403),
        ("trainer", "PUT", "/v1/models/lyon/line-1", 403),
        ("trainer", "DELETE", "/v1/models/lyon/line-1", 403),
        ("handler", "GET", "/v1/models", 403),
        ("trainer", "GET", "/v1/stream?namespace=a&model=b&version=c", 403),
        ("operator", "PUT", "/v1/drift/a/b/c", 403),
        ("trainer", "GET", "/v1/drift/a/b/c", 403),
        ("trainer", "POST", "/v1/feedback/retract", 403),
        ("drift", "GET", "/v1/drift/a/b/never-seen", 404),
        ("operator", "GET", "/v1/models/a/never-seen", 404),
        ("drift", "GET", "/v1/stream?namespace=a&model=b", 422),
        ("trainer", "GET", "/v1/predictions?order=uncertain", 422),
        ("trainer", "GET", "/v1/lines/a/b/accuracy-history?buckets=0", 422),
        ("trainer", "GET", "/v1/nothing", 404),
        ("trainer", "GET", "/v1/predictions/unknown", 404),
        ("trainer", "DELETE", "/v1/predictions/x", 405),
        ("trainer", "GET", "/v1/predictions?modle=x", 422),
        ("trainer", "GET", "/v1/predictions?cursor=zzz", 422),
        ("trainer", "GET", "/v1/accuracy?window=soon", 422),
    ],
)
def test_who_may_do_what(live: Server, token: str | None, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, f"{live.url}{path}", headers=bearer(token) if token else {})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


def test_a_token_is_told_what_it_opens(live: Server) -> None:
    with live.client("inspector") as inspector:
        assert inspector.get("/v1/token").json() == {"name": "inspector", "roles": ["feedback", "read"]}


@pytest.mark.parametrize("header", ["Bearer wrong", "Basic aGFuZGxlcjp4", "Bearer \xff\xfe", "bearer"])
def test_other_credentials_are_refused(live: Server, header: str) -> None:
    answer = httpx.get(f"{live.url}/v1/predictions", headers=[(b"Authorization", header.encode("latin-1"))])
    assert answer.status_code == 401, answer.text
