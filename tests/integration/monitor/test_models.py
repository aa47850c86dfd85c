"""What operator, drift worker and pages ask for, over real HTTP on both engines."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from tests.integration.monitor.live import CLASSES, Server, a_label, a_record, bearer, send
from tests.integration.monitor.test_api import JPEG, metrics

_numbers = count()
V1, V2 = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
SETTINGS: dict[str, Any] = {
    "line": "line-1",
    "champion": V1,
    "challenger": None,
    "drift": {"backend": "builtin", "detector": "MMDOnline", "expected_run_images": 5000, "confirm_windows": 3},
    "data_quality": {"max_lateness_s": 900.0, "min_images": None, "size": [128, 128], "brightness": [0.1, 0.9]},
    "storage": {"endpoint": "minio:9000", "bucket": "models", "secure": False},
}
REPORT: dict[str, Any] = {
    "version": V1,
    "detector": "MMDOnline",
    "backend": "builtin",
    "images": 1200,
    "score": 0.03,
    "threshold": 0.02,
    "p_value": None,
    "phase": "Suspected",
    "harmful": "Unknown",
    "since": "2026-11-24T10:00:00Z",
    "message": "The score is 0.03, the threshold 0.02.",
}


@pytest.fixture
def model() -> str:
    """A name that no other test uses."""
    return f"watched-{next(_numbers)}"


def put(live: Server, model: str, **changes: Any) -> httpx.Response:
    with live.client("operator") as operator:
        return operator.put(f"/v1/models/lyon/{model}", json=SETTINGS | changes)


def get(live: Server, model: str) -> dict[str, Any]:
    with live.client("operator") as operator:
        answer = operator.get(f"/v1/models/lyon/{model}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put_drift(live: Server, model: str, **changes: Any) -> httpx.Response:
    body = {"report": REPORT, "cursor": 7, "state": base64.b64encode(b"state").decode(), "config": "c"} | changes
    with live.client("drift") as drift:
        return drift.put(f"/v1/drift/lyon/{model}/{V1}", json=body)


def test_settings_are_kept_and_answered_with_the_state(live: Server, model: str) -> None:
    first = put(live, model)
    assert first.status_code == 200, first.text
    assert first.json().keys() == {"at", "drift", "input", "accuracy", "labels", "decisions"}
    assert first.json()["labels"] == {"total": 0, "images": 0, "bytes": 0}
    assert first.json()["accuracy"] == [
        {"version": V1, "labelled": 0, "wrong": 0, "accuracy": None, "window_s": 86400.0}
    ]
    assert first.json()["input"]["healthy"] is None and first.json()["input"]["images"] == 0
    found = get(live, model)["settings"]
    assert {name: found[name] for name in SETTINGS} == SETTINGS
    assert put(live, model, challenger=V2).status_code == 200
    with live.client("drift") as drift:
        listed = [one for one in drift.get("/v1/models").json()["models"] if one["name"] == model]
    assert [(one["namespace"], one["settings"]["challenger"]) for one in listed] == [("lyon", V2)]
    with live.client("operator") as operator:
        assert operator.delete(f"/v1/models/lyon/{model}").status_code == 204
        assert operator.delete(f"/v1/models/lyon/{model}").status_code == 204
        assert operator.get(f"/v1/models/lyon/{model}").status_code == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"line": None}, "line"),
        ({"colour": 1}, "colour"),
        ({"drift": {"detector": "Guess"}}, "drift.detector"),
        ({"drift": {"expected_run_images": 0}}, "drift.expected_run_images"),
        ({"data_quality": {"brightness": [0.9, 0.1]}}, "the lower bound comes first"),
        ({"data_quality": {"size": [0, 128]}}, "data_quality.size[0]"),
        ({"drift": {str(n): n for n in range(60)}}, "drift: has 60 entries"),
    ],
)
def test_settings_that_make_no_sense_change_nothing(
    live: Server, model: str, changes: dict[str, Any], words: str
) -> None:
    assert put(live, model).status_code == 200
    answer = put(live, model, **changes)
    assert answer.status_code == 422 and words in answer.json()["detail"], answer.text
    assert {name: get(live, model)["settings"][name] for name in SETTINGS} == SETTINGS


def test_accuracy_and_labels_of_the_state(live: Server, model: str) -> None:
    put(live, model, challenger=V2)
    records = [a_record("ok", model=model, version=V1 if n < 6 else V2) for n in range(8)]
    with live.client("handler") as handler, live.client("inspector") as inspector:
        send(handler, records)
        labels = [a_label(one["id"], "stain" if n == 0 else "ok") for n, one in enumerate(records[:5])]
        inspector.post("/v1/feedback", json=labels)
        for one in (records[0], records[7]):
            path, kind = f"/v1/predictions/{one['id']}/image", {"Content-Type": "image/jpeg"}
            assert handler.put(path, content=JPEG, headers=kind).status_code == 200
        state = get(live, model)["state"]
        accuracy = {one["version"]: (one["labelled"], one["wrong"], one["accuracy"]) for one in state["accuracy"]}
        assert accuracy == {V1: (5, 1, 0.8), V2: (0, 0, None)}
        assert state["labels"] == {"total": 5, "images": 1, "bytes": len(JPEG)}
        assert state["input"]["images"] == 8 and state["input"]["last_image_at"] is not None
        inspector.post("/v1/feedback", json=[a_label(records[7]["id"], "ok")])
        assert get(live, model)["state"]["labels"] == {"total": 6, "images": 2, "bytes": 2 * len(JPEG)}
        found = metrics(live, model)
        assert found["puzzle_monitor_input_images_total{}"] == 8
        assert found["puzzle_monitor_input_lateness_seconds_count{}"] == 8
        assert found["puzzle_monitor_input_last_image_timestamp_seconds{}"] > 1.7e9
        with live.client("trainer") as trainer:
            path = f"/v1/lines/lyon/{model}/accuracy-history"
            history = trainer.get(path, params={"window": "1h", "buckets": 30}).json()
    assert history["bucket_s"] == 120.0
    points = {one["version"]: one["points"] for one in history["series"]}
    assert sum(one["labelled"] for one in points[V1]) == 5 and sum(one["wrong"] for one in points[V1]) == 1
    assert sum(one["predictions"] for one in points[V2]) == 2


def test_a_label_is_taken_back_and_the_one_before_counts_again(live: Server, model: str) -> None:
    one = a_record("ok", model=model)
    early = a_label(one["id"], "ok", at=(datetime.now(UTC) - timedelta(minutes=5)).isoformat())
    late = a_label(one["id"], "stain", who="inspector-8")
    put(live, model)
    with live.client("handler") as handler, live.client("inspector") as inspector:
        send(handler, [one])
        inspector.post("/v1/feedback", json=[early, late])
        before = metrics(live, model)

        def retract(label: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            body = {name: label[name] for name in ("prediction_id", "who", "at")}
            answer = inspector.post("/v1/feedback/retract", json=body)
            return answer.status_code, answer.json()

        assert retract(late) == (200, {"retracted": True, "truth": "ok"})
        assert retract(late) == (200, {"retracted": False, "truth": "ok"})
        shown = inspector.get(f"/v1/predictions/{one['id']}").json()
        assert (shown["truth"], shown["truth_by"]) == ("ok", "inspector-7")
        assert [(item["label"], item["retracted"] is not None) for item in shown["feedback"]] == [
            ("ok", False),
            ("stain", True),
        ]
        assert retract(early) == (200, {"retracted": True, "truth": None})
        queue = inspector.get("/v1/predictions", params={"model": model, "labelled": False}).json()["predictions"]
        assert [item["id"] for item in queue] == [one["id"]]
        after = metrics(live, model)
        for name in ("labelled_total{}", "class_total{label=ok,truth=ok}"):
            assert after[f"puzzle_monitor_{name}"] == before[f"puzzle_monitor_{name}"] == 1, "a counter never falls"
        assert after["puzzle_monitor_window_labelled{}"] == 0
        assert all(value == 0 for name, value in after.items() if "confusion" in name)
        assert get(live, model)["state"]["labels"]["total"] == 1
        assert retract(a_label("unknown", "ok"))[0] == 404
        answer = inspector.post("/v1/feedback/retract", json=late | {"at": "2126-01-01T00:00:00Z"})
        assert answer.status_code == 422 and "at" in answer.text


def test_the_queue_of_reviewers_begins_with_the_least_sure(live: Server, model: str) -> None:
    records = [a_record(CLASSES[n % 4], model=model, confidence=0.4 + n / 50) for n in range(20)]
    with live.client("handler") as handler, live.client("inspector") as inspector:
        send(handler, records)
        for one in records[:15]:
            path = f"/v1/predictions/{one['id']}/image"
            assert handler.put(path, content=JPEG, headers={"Content-Type": "image/jpeg"}).status_code == 200
        inspector.post("/v1/feedback", json=[a_label(one["id"], "ok") for one in records[:2]])
        query: dict[str, Any] = {"model": model, "has_image": True, "labelled": False, "max_confidence": 0.61}
        query |= {"order": "uncertain", "limit": 4}
        seen: list[str] = []
        while True:
            page = inspector.get("/v1/predictions", params=query).json()
            seen += [item["id"] for item in page["predictions"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert seen == [one["id"] for one in records[2:11]]
        exported = inspector.get("/v1/export", params={"model": model, "has_image": True}).text.splitlines()
        assert len(exported) == 2
        query = {"model": model, "has_image": True, "since_seq": 10**12}
        assert inspector.get("/v1/export", params=query).text == ""


def test_the_stream_gives_every_record_once_in_order_of_arrival(live: Server, model: str) -> None:
    records = [
        a_record(
            CLASSES[n % 4],
            model=model,
            version=V2 if n % 5 == 0 else V1,
            revision=f"r-{n % 2}",
            embedding=[float(n), 0.5],
            at=(datetime.now(UTC) - timedelta(seconds=n * 7 % 60)).isoformat(),
        )
        for n in range(40)
    ]
    mine = [one for one in records if one["version"] == V1]
    with live.client("handler") as handler, live.client("drift") as drift:
        for start in range(0, 40, 10):
            send(handler, records[start : start + 10])
        seen: list[dict[str, Any]] = []
        query: dict[str, Any] = {"namespace": "lyon", "model": model, "version": V1, "limit": 7, "after": 0}
        while (page := drift.get("/v1/stream", params=query).json())["records"]:
            seen += page["records"]
            query["after"] = page["next"]
        assert page["next"] == query["after"]
    assert [one["id"] for one in seen] == [one["id"] for one in mine]
    assert [one["seq"] for one in seen] == sorted({one["seq"] for one in seen})
    assert seen[3]["embedding"] == mine[3]["embedding"] and seen[3]["probabilities"] == mine[3]["probabilities"]
    assert seen[0]["truth"] is None and seen[0]["revision"] in {"r-0", "r-1"}


def test_drift_is_stored_with_cursor_state_and_history(live: Server, model: str) -> None:
    put(live, model)
    with live.client("handler") as handler:
        send(handler, [a_record(model=model, revision="line-1-predictor-00004")])
    assert get(live, model)["state"]["drift"] == []
    assert put_drift(live, model).json() == {"stored": True}
    assert put_drift(live, model).json() == {"stored": False}
    later = REPORT | {"images": 1300, "phase": "Confirmed", "harmful": "Yes", "p_value": 0.001}
    assert put_drift(live, model, report=later, cursor=9).json() == {"stored": True}
    with live.client("drift") as drift, live.client("trainer") as trainer:
        found = drift.get(f"/v1/drift/lyon/{model}/{V1}").json()
        assert found == {"report": later, "cursor": 9, "state": base64.b64encode(b"state").decode(), "config": "c"}
        path = f"/v1/drift/lyon/{model}/{V1}/history"
        history = trainer.get(path).json()["history"]
        assert [(one["images"], one["phase"]) for one in history] == [(1200, "Suspected"), (1300, "Confirmed")]
        assert [one["images"] for one in trainer.get(path, params={"limit": 1}).json()["history"]] == [1300]
        future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        assert trainer.get(path, params={"since": future}).json()["history"] == []
    assert get(live, model)["state"]["drift"] == [later]
    found = metrics(live, model)
    assert found["puzzle_monitor_drift_score{}"] == 0.03 and found["puzzle_monitor_drift_threshold{}"] == 0.02
    assert found["puzzle_monitor_drift_images{}"] == 1300 and found["puzzle_monitor_drift_harmful{}"] == 1
    phases = {name: value for name, value in found.items() if "drift_phase" in name}
    assert [name for name, value in phases.items() if value] == ["puzzle_monitor_drift_phase{phase=Confirmed}"]
    assert len(phases) == 4
    put(live, model, drift=None)
    assert get(live, model)["state"]["drift"] == [] and "puzzle_monitor_drift_score{}" not in metrics(live, model)


def test_a_state_as_large_as_it_may_be_comes_back_and_a_larger_one_does_not(live: Server, model: str) -> None:
    state = base64.b64encode(os.urandom(3 * 1024 * 1024)).decode()
    assert put_drift(live, model, state=state).status_code == 200
    with live.client("drift") as drift:
        assert drift.get(f"/v1/drift/lyon/{model}/{V1}").json()["state"] == state
    assert put_drift(live, model, state=state + "AAAA").status_code == 422
    assert put_drift(live, model, state="A" * 5 * 1024 * 1024).status_code == 413
    assert "report.version" in put_drift(live, model, report=REPORT | {"version": V2}).text
    assert "state" in put_drift(live, model, state="?").json()["detail"]
    assert put_drift(live, model, report=REPORT | {"score": "high"}).status_code == 422


def test_operator_routes_tell_who_may(live: Server, model: str) -> None:
    answer = httpx.put(f"{live.url}/v1/models/lyon/{model}", json=SETTINGS, headers=bearer("drift"))
    assert answer.status_code == 403 and "has no role 'operator'" in answer.json()["detail"]
    answer = httpx.get(f"{live.url}/v1/models", headers=bearer("handler"))
    assert "no role 'read' or 'operator' or 'drift'" in answer.json()["detail"]


def test_what_is_usual_is_forgotten_for_a_new_camera(live: Server, model: str) -> None:
    put(live, model)
    path = f"/v1/lines/lyon/{model}/line-1/usual"
    with live.client("handler") as handler, live.client("operator") as operator:
        assert operator.delete(path).status_code == 404
        send(handler, [a_record(model=model) for _ in range(30)])
        assert operator.delete(path).status_code == 204
        assert operator.delete(path).status_code == 204
    found = get(live, model)["state"]["input"]
    assert found["healthy"] is None and found["images"] == 30 and found["message"]
