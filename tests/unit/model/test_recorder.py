"""The recorder: a queue that is bounded, patient, and never in the way; against a real HTTP server."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puzzlenet.predictor import Prediction
from puzzlenet.records import recorder as module
from puzzlenet.records.recorder import Recorder
from puzzlenet.records.settings import Origin, RecordSettings
from puzzlenet.records.tally import DROPPED, FAILED, PICTURES, QUEUE, REFUSED, SENT
from puzzlenet.traffic import Traffic
from tests.receiver import Receiver

Picture = Callable[..., bytes]
ORIGIN = Origin(namespace="lyon", model="line-1", line="line-1", revision="line-1-00001", version="sha256:abc")
CLASSES = ("ok", "scratch")


class Counters:
    """What was exported: totals of counters, the last value of the gauge."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def __call__(self, name: str, value: float, labels: Sequence[str]) -> None:
        key = name + "".join(f"/{label}" for label in labels)
        self.values[key] = value if name == QUEUE else self.values.get(key, 0) + value


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver().start()
    yield running
    running.stop()


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def record(
    receiver: Receiver, counters: Counters, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders that look ten times a second and pause for less, and ends them."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.1)
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.05)
    made: list[Recorder] = []

    def make(**changes: Any) -> Recorder:
        settings = RecordSettings(**{"url": receiver.url, "origin": ORIGIN, "image_share": 0.0, **changes})
        made.append(Recorder(settings, CLASSES, counters, traffic))
        return made[-1]

    yield make
    receiver.mood = "fine"
    receiver.released.set()
    for one in made:
        one.close(2.0)


def _offer(recorder: Recorder, picture: bytes, *ids: str, confidence: float = 0.9) -> None:
    prediction = Prediction("ok", (confidence, 1.0 - confidence))
    pixels = np.full((len(ids), 8, 8, 3), 128, dtype=np.uint8)
    embeddings = np.linspace(0.0, 1.0, 4 * len(ids), dtype=np.float32).reshape(len(ids), 4)
    recorder.offer(ids, [picture] * len(ids), [prediction] * len(ids), pixels, embeddings)


def _until(true: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_records_arrive_in_order_within_a_moment(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    recorder = record()
    for index in range(30):
        _offer(recorder, picture(), f"a-{index}")
    assert [one["id"] for one in receiver.wait_for(30)] == [f"a-{index}" for index in range(30)]
    _until(lambda: counters.values.get(SENT) == 30)
    assert counters.values[DROPPED] == counters.values[FAILED] == counters.values[QUEUE] == 0


def test_batches_are_bounded_in_number_and_bytes(
    receiver: Receiver, record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch, picture: Picture
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 4_000)
    recorder = record()
    _offer(recorder, picture(), *(f"a-{index}" for index in range(450)))
    receiver.wait_for(450)
    assert len(receiver.records) == 450 and max(len(json.dumps(batch)) for batch in receiver.batches) < 6_000
    monkeypatch.setattr(module, "BATCH_BYTES", 1 << 20)
    _offer(recorder, picture(), *(f"b-{index}" for index in range(450)))
    receiver.wait_for(900)
    assert max(len(batch) for batch in receiver.batches) == module.BATCH


def test_a_full_queue_drops_what_is_new_and_counts_it(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    receiver.mood = "broken"
    recorder = record(queue=50)
    for index in range(500):
        _offer(recorder, picture(), f"a-{index}")
    assert recorder.pending <= 50
    receiver.mood = "fine"
    receiver.wait_for(50)
    _until(lambda: counters.values.get(SENT, 0) + counters.values[DROPPED] == 500)
    assert receiver.records[0]["id"] == "a-0" and counters.values[SENT] >= 50


def test_memory_is_bounded_in_bytes_too(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    receiver.mood = "broken"
    recorder = record(queue_bytes=20_000, image_share=1.0)
    for index in range(2_000):
        _offer(recorder, picture(), f"a-{index}")
        assert recorder._bytes_in - recorder._bytes_out <= 20_000
    assert 0 < recorder.pending < 50
    receiver.mood = "fine"
    _until(lambda: recorder.pending == 0)
    assert recorder._bytes_in == recorder._bytes_out
    assert counters.values[PICTURES + "/skipped"] > 0


@pytest.mark.parametrize("mood", ["broken", "busy", "hangs up"])
def test_what_failed_is_sent_again_under_the_same_ids(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture, mood: Any
) -> None:
    receiver.mood = mood
    recorder = record()
    _offer(recorder, picture(), "a", "b", "c")
    _until(lambda: receiver.requests >= 2)
    receiver.mood = "fine"
    assert [one["id"] for one in receiver.wait_for(3)] == ["a", "b", "c"]
    _until(lambda: counters.values.get(SENT) == 3)
    assert counters.values[FAILED] == counters.values[DROPPED] == 0


def test_a_monitor_that_asks_for_time_is_given_it(
    receiver: Receiver, record: Callable[..., Recorder], picture: Picture
) -> None:
    receiver.mood = "busy"  # Retry-After: 1
    recorder = record()
    _offer(recorder, picture(), "a")
    _until(lambda: receiver.requests >= 1)
    started = time.monotonic()
    receiver.mood = "fine"
    receiver.wait_for(1)
    assert time.monotonic() - started > 0.8


def test_pauses_grow_while_the_monitor_is_away(
    receiver: Receiver, record: Callable[..., Recorder], picture: Picture
) -> None:
    receiver.mood = "broken"
    recorder = record()
    _offer(recorder, picture(), "a")
    time.sleep(2.0)
    # 0.05 s, doubled each time: five or six tries in two seconds, and not forty.
    assert 3 <= receiver.requests <= 8


def test_what_is_too_old_is_given_up_for_what_is_new(
    receiver: Receiver,
    record: Callable[..., Recorder],
    counters: Counters,
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
) -> None:
    monkeypatch.setattr(module, "KEEP_S", 0.3)
    receiver.mood = "broken"
    recorder = record()
    _offer(recorder, picture(), "old")
    _until(lambda: counters.values.get(FAILED) == 1)
    _offer(recorder, picture(), "new")
    receiver.mood = "fine"
    assert [one["id"] for one in receiver.wait_for(1)] == ["new"]


def test_a_refused_batch_is_dropped_counted_and_logged_once(
    receiver: Receiver,
    record: Callable[..., Recorder],
    counters: Counters,
    caplog: pytest.LogCaptureFixture,
    picture: Picture,
) -> None:
    receiver.mood = "unprocessable"
    recorder = record()
    for index in range(3):
        _offer(recorder, picture(), f"a-{index}")
        _until(lambda expected=index + 1: counters.values.get(REFUSED + "/422") == expected)  # type: ignore[misc]
    assert recorder.pending == 0 and receiver.requests == 3
    assert [message for message in caplog.messages if "refuses" in message] == [
        "the monitor refuses records: 422 not today"
    ]


def test_the_token_is_read_again_when_it_changes_and_never_logged(
    receiver: Receiver,
    record: Callable[..., Recorder],
    counters: Counters,
    caplog: pytest.LogCaptureFixture,
    picture: Picture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "token"
    token.write_text("first-secret\n")
    receiver.token = "second-secret"
    recorder = record(token_file=token)
    _offer(recorder, picture(), "a")
    _until(lambda: counters.values.get(REFUSED + "/401") == 1)
    (tmp_path / "new").write_text("second-secret\n")
    (tmp_path / "new").replace(token)
    _offer(recorder, picture(), "b")
    assert [one["id"] for one in receiver.wait_for(1)] == ["b"]
    token.unlink()
    _offer(recorder, picture(), "c")
    assert len(receiver.wait_for(2)) == 2, "a token that cannot be read again stays the token"
    assert "secret" not in caplog.text


def test_a_token_that_comes_late_finds_the_records_waiting(
    receiver: Receiver,
    record: Callable[..., Recorder],
    counters: Counters,
    caplog: pytest.LogCaptureFixture,
    picture: Picture,
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    receiver.token = "a-secret"
    recorder = record(token_file=token)
    _offer(recorder, picture(), "a")
    _until(lambda: "mount the monitor's Secret there); 1 wait" in caplog.text)
    assert receiver.requests == 0, "nothing is asked of the monitor without a token"
    token.write_text("a-secret\n")
    assert [one["id"] for one in receiver.wait_for(1)] == ["a"]
    assert counters.values.get(REFUSED + "/401", 0) == 0


def test_uncertain_pictures_and_a_random_share_are_sent_as_jpeg(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    recorder = record()
    _offer(recorder, picture(format="JPEG"), "sure")
    _offer(recorder, picture(), "unsure", confidence=0.55)
    _until(lambda: counters.values.get(PICTURES + "/sent") == 1)
    assert list(receiver.pictures) == ["unsure"] and receiver.pictures["unsure"].startswith(b"\xff\xd8\xff")
    everything = record(image_share=1.0)
    _offer(everything, picture(format="JPEG"), "sure")
    _until(lambda: "sure" in receiver.pictures)
    assert receiver.pictures["sure"] == picture(format="JPEG")


def test_a_model_that_is_unsure_of_everything_sends_few_pictures(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    recorder = record(image_rate=0.001)
    for index in range(100):
        _offer(recorder, picture(format="JPEG"), f"a-{index}", confidence=0.5)
    receiver.wait_for(100)
    _until(lambda: recorder.pending == 0)
    assert len(receiver.pictures) == 20
    _until(lambda: counters.values.get(PICTURES + "/skipped") == 80)


def test_a_slow_monitor_costs_the_caller_nothing(
    receiver: Receiver, record: Callable[..., Recorder], picture: Picture
) -> None:
    receiver.mood = "slow"
    recorder = record()
    _offer(recorder, picture(), "first")
    _until(lambda: receiver.requests >= 1)
    data, took = picture(), []
    for index in range(200):
        started = time.perf_counter()
        _offer(recorder, data, f"a-{index}")
        took.append(time.perf_counter() - started)
    assert sorted(took)[100] < 0.001 and recorder.pending == 201


def test_at_the_end_what_waits_is_sent_at_once(
    receiver: Receiver, record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch, picture: Picture
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 30.0)
    recorder = record()
    _offer(recorder, picture(), *(f"a-{index}" for index in range(100)))
    recorder.close(5.0)
    assert len(receiver.records) == 100 and recorder.pending == 0
    _offer(recorder, picture(), "too late")
    assert recorder.pending == 0


def test_at_the_end_a_monitor_that_is_away_is_not_waited_for(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    receiver.mood = "broken"
    recorder = record()
    _offer(recorder, picture(), "a", "b")
    _until(lambda: receiver.requests >= 1)
    started = time.monotonic()
    recorder.close(0.5)
    assert time.monotonic() - started < 1.5
    _until(lambda: counters.values.get(FAILED) == 2)


def test_nothing_that_goes_wrong_inside_reaches_the_caller(
    receiver: Receiver,
    record: Callable[..., Recorder],
    counters: Counters,
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
) -> None:
    recorder = record()
    _offer(recorder, b"\xff\xd8\xff no picture", "bad")
    with monkeypatch.context() as patch:
        patch.setattr(recorder._sender, "post", lambda _: 1 / 0)
        _offer(recorder, picture(), "good")
        _until(lambda: recorder._failures > 0)
    assert [one["id"] for one in receiver.wait_for(1)] == ["good"]
    _until(lambda: counters.values[DROPPED] == 1)


def test_a_fork_records_on_its_own_and_sends_nothing_twice(
    receiver: Receiver, record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch, picture: Picture
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.5)
    recorder = record()
    data = picture()
    _offer(recorder, data, "parent")
    child = os.fork()
    if child == 0:
        try:
            _offer(recorder, data, "child")
            recorder.close(5.0)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert sorted(one["id"] for one in receiver.wait_for(2)) == ["child", "parent"]
    time.sleep(0.7)
    assert len(receiver.records) == 2


def test_records_are_made_and_sent_in_a_gap_between_requests(
    receiver: Receiver,
    record: Callable[..., Recorder],
    traffic: Traffic,
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 60.0)
    recorder = record()
    with traffic:
        _offer(recorder, picture(), "a")
        time.sleep(0.5)
        assert len(recorder._seen) == 1 and receiver.requests == 0

    def arrived_after_another_request() -> bool:
        with traffic:
            return bool(receiver.records)

    _until(arrived_after_another_request)


def test_requests_without_a_gap_do_not_hold_up_records(
    receiver: Receiver, record: Callable[..., Recorder], traffic: Traffic, picture: Picture
) -> None:
    recorder = record()
    with traffic:
        _offer(recorder, picture(), *(f"a-{index}" for index in range(300)))
        assert len(receiver.wait_for(300)) == 300
