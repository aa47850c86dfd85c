"""The handler as TorchServe calls it, with TorchServe's own context and counters."""

import base64
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from puzzlenet import handler
from puzzlenet.predictor import Predictor
from puzzlenet.replay import REPLAY_HEADER
from puzzlenet.serve import METRICS
from puzzlenet.supervisor import PROBE_HEADER
from tests.receiver import Receiver

Picture = Callable[..., bytes]


class Server:
    """Calls the handler as ts.service.Service does, and adds up the counters it prints."""

    def __init__(self, version: Path, metrics: Path, caplog: pytest.LogCaptureFixture) -> None:
        cache = MetricsCacheYamlImpl(str(metrics))
        cache.initialize_cache()
        cache.model_name = "puzzlenet"
        self._caplog = caplog
        self.context = Context("puzzlenet", str(version), {}, 1, None, "0.12.0", True, cache)
        handler.handle(None, self.context)
        self._at_load = list(caplog.messages)

    def ask(self, *bodies: Any, headers: dict[str, str] | None = None) -> list[tuple[int, Any]]:
        """Status and answer of each request of one batch."""
        self.context.request_processor = [RequestProcessor(headers or {}) for _ in bodies]
        self.context.request_ids = {index: f"request-{index}" for index in range(len(bodies))}
        answers = handler.handle([{"body": body} for body in bodies], self.context)
        assert answers is not None
        return [(self.context.get_response_status(index)[0], answer) for index, answer in enumerate(answers)]

    def counters(self) -> dict[str, float]:
        """Totals by metric and label, from the lines that TorchServe's front end parses, the latest told now."""
        assert handler._handler is not None
        handler._handler.counters.tell()
        totals: dict[str, float] = {}
        for message in [*self._at_load, *self._caplog.messages]:
            if message.startswith("[METRICS]puzzlenet"):
                if "#type:GAUGE" in message:
                    continue
                name, rest = re.split(r"\.(?:Count|Seconds):", message.removeprefix("[METRICS]"))
                value, label = rest.split("|")[:2]
                assert "#type:COUNTER" in message
                totals[name + label.removeprefix("#")] = totals.get(name + label.removeprefix("#"), 0) + float(value)
        return totals


@pytest.fixture
def server(
    version: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """A freshly loaded handler."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(handler, "_handler", None)
    monkeypatch.setenv("PUZZLENET_VERSION", "sha256:abc")
    (tmp_path / "metrics.yaml").write_text(METRICS)
    yield Server(version, tmp_path / "metrics.yaml", caplog)
    if handler._handler is not None:
        handler._handler.counters.close()
        if handler._handler.recorder is not None:
            handler._handler.recorder.close(2.0)


def _v2(*pictures: bytes) -> bytes:
    data = [base64.b64encode(picture).decode() for picture in pictures]
    return json.dumps(
        {"id": "p1", "inputs": [{"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}]}
    ).encode()


def test_both_protocols_get_the_same_answer_for_the_same_picture(server: Server, picture: Picture) -> None:
    v1 = json.dumps({"instances": [{"image": {"b64": base64.b64encode(picture()).decode()}}]}).encode()
    (one, first), (two, second) = server.ask(_v2(picture()), v1)
    assert one == two == 200
    outputs = {output["name"]: output["data"] for output in first["outputs"]}
    prediction = second["predictions"][0]
    assert outputs["label"] == [prediction["label"]]
    assert outputs["probabilities"] == list(prediction["probabilities"].values())
    assert sum(outputs["probabilities"]) == pytest.approx(1.0, abs=1e-4)
    assert first["model_version"] == prediction["version"] == "sha256:abc"


def test_one_bad_request_does_not_disturb_its_batch(server: Server, picture: Picture) -> None:
    (good, answer), (bad, error), (also_good, _) = server.ask(_v2(picture()), _v2(b"no picture"), _v2(picture()))
    assert (good, bad, also_good) == (200, 415, 200)
    assert answer["id"] == "p1" and "neither PNG nor JPEG" in error["error"]


def test_the_bad_one_of_several_pictures_is_named(server: Server, picture: Picture) -> None:
    ((status, error),) = server.ask(_v2(picture(), picture()[:60]))
    assert status == 400 and error["error"].startswith("inputs[0].data[1] is damaged")


def test_counters_start_at_zero_and_count_pictures_and_bad_requests(server: Server, picture: Picture) -> None:
    server.ask(_v2(picture(), picture()), b"{", _v2(b""))
    counted = server.counters()
    predictions = {name: value for name, value in counted.items() if name.startswith(handler.PREDICTIONS)}
    assert len(predictions) == 6 and sum(predictions.values()) == 2
    assert counted[handler.BAD_INPUT] == 2
    assert 0 <= counted[handler.LOW] <= 2


def test_a_probe_is_answered_and_not_counted(server: Server) -> None:
    ((status, answer),) = server.ask(b"", headers={PROBE_HEADER: "ready"})
    assert status == 200 and answer == {"ready": True, "version": "sha256:abc"}
    assert sum(server.counters().values()) == 0


def test_an_empty_request_that_is_no_probe_is_a_bad_one(server: Server) -> None:
    ((status, answer),) = server.ask(b"")
    assert status == 400 and "empty" in answer["error"]


def _v1(*pictures: bytes, ids: tuple[str | None, ...] = ()) -> bytes:
    coded = [{"image": {"b64": base64.b64encode(picture).decode()}} for picture in pictures]
    named = [{**one, **({"id": id} if id else {})} for one, id in zip(coded, ids or (None,) * len(coded), strict=True)]
    return json.dumps({"instances": named}).encode()


def test_every_answer_names_its_records(server: Server, picture: Picture) -> None:
    bodies = (
        _v2(picture()),
        _v2(picture(), picture()),
        _v1(picture(), picture(), picture(), ids=("mine", None, "not usable")),
        picture(),
    )
    (_, one), (_, two), (_, many), (_, raw) = server.ask(*bodies)
    assert [one["id"], _records(one)] == ["p1", ["p1"]]
    assert [two["id"], _records(two)] == ["p1", ["p1:0", "p1:1"]]
    assert [(p["id"], p.get("record")) for p in many["predictions"]] == [
        ("mine", None),
        ("request-2:1", None),
        ("not usable", "request-2:2"),
    ]
    assert raw["id"] == "request-3"


def _records(answer: Any) -> Any:
    return next(output["data"] for output in answer["outputs"] if output["name"] == "record")


def test_without_a_monitor_nothing_is_watched_and_nothing_counted(server: Server) -> None:
    loaded = handler._handler
    assert loaded is not None and loaded.recorder is None and type(loaded.predictor) is Predictor
    assert not [name for name in server.counters() if "record" in name]
    ((_, answer),) = server.ask(b"", headers={PROBE_HEADER: "drain"})
    assert "pending" not in answer


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A monitor, named in the environment."""
    running = Receiver().start()
    monkeypatch.setenv("PUZZLE_MONITOR_URL", running.url)
    monkeypatch.setenv("PUZZLENET_LINE", "line-9")
    yield running
    running.stop()


def test_with_a_monitor_every_prediction_is_recorded(receiver: Receiver, server: Server, picture: Picture) -> None:
    answers = server.ask(_v2(picture(), picture(format="JPEG")), b"{", _v1(picture(), ids=("mine",)))
    found = receiver.wait_for(3)
    assert [record["id"] for record in found] == ["p1:0", "p1:1", "mine"]
    assert [record["image"]["format"] for record in found] == ["png", "jpeg", "png"]
    assert {record["line"] for record in found} == {"line-9"} and {len(record["embedding"]) for record in found} == {64}
    labels = next(output["data"] for output in answers[0][1]["outputs"] if output["name"] == "label")
    assert [record["label"] for record in found[:2]] == labels
    deadline = time.monotonic() + 5
    while server.counters()["puzzlenet_records_sent_total"] < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.counters()["puzzlenet_records_sent_total"] == 3


def test_the_last_probe_says_what_waits_and_hurries_it(receiver: Receiver, server: Server, picture: Picture) -> None:
    server.ask(_v2(picture()))
    ((_, first),) = server.ask(b"", headers={PROBE_HEADER: "drain"})
    assert first["pending"] in (0, 1)
    assert len(receiver.wait_for(1, timeout=0.9)) == 1
    ((_, last),) = server.ask(b"", headers={PROBE_HEADER: "drain"})
    assert last["ready"] and "pending" not in server.ask(b"", headers={PROBE_HEADER: "ready"})[0][1]


def test_a_piece_that_is_shown_again_is_answered_and_neither_recorded_nor_counted(
    receiver: Receiver, server: Server, picture: Picture
) -> None:
    again = {REPLAY_HEADER: "1"}
    ((status, answer),) = server.ask(_v2(picture()), headers=again)
    assert status == 200 and answer["outputs"][0]["data"]
    assert [status for status, _ in server.ask(b"{", headers=again)] == [400]
    counted = server.counters()
    assert not [
        name for name, value in counted.items() if value and name.startswith(("puzzlenet_pred", "puzzlenet_bad"))
    ]
    server.ask(_v1(picture(), ids=("mine",)))
    assert [record["id"] for record in receiver.wait_for(1)] == ["mine"]
