"""The recorder: a queue that is bounded and never in the way, and a process beside it; against a real HTTP server."""

import os
import signal
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
from puzzlenet.records.tally import DROPPED, FAILED, PICTURES, QUEUE, SENT
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
def record(
    receiver: Receiver, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders that look and tell ten times a second, and ends them."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.1)
    made: list[Recorder] = []

    def make(**changes: Any) -> Recorder:
        settings = RecordSettings(**{"url": receiver.url, "origin": ORIGIN, "image_share": 0.0, **changes})
        made.append(Recorder(settings, CLASSES, counters))
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


def _until(true: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def _process(recorder: Recorder) -> int:
    """The id of the sending process, once it has taken a record."""
    _until(lambda: recorder._courier is not None and recorder._courier.report.taken > 0)
    assert recorder._courier
    return recorder._courier.pid


def test_records_arrive_in_order_within_a_moment(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    recorder = record()
    for index in range(30):
        _offer(recorder, picture(), f"a-{index}")
    assert [one["id"] for one in receiver.wait_for(30, timeout=20.0)] == [f"a-{index}" for index in range(30)]
    _until(lambda: counters.values.get(SENT) == 30 and counters.values[QUEUE] == 0)
    assert counters.values[DROPPED] == counters.values[FAILED] == recorder.pending == 0


def test_a_full_queue_drops_what_is_new_and_counts_it(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    receiver.mood = "broken"
    recorder = record(queue=50)
    for index in range(25):
        _offer(recorder, picture(), f"a-{index}")
    _until(lambda: recorder._report.records == 25)  # on the other side of the pipe
    for index in range(25, 500):
        _offer(recorder, picture(), f"a-{index}")
    assert recorder.pending == 50
    receiver.mood = "fine"
    receiver.wait_for(50, timeout=20.0)
    _until(lambda: counters.values.get(SENT, 0) + counters.values[DROPPED] == 500)
    assert receiver.records[0]["id"] == "a-0" and counters.values[SENT] == 50


def test_memory_is_bounded_in_bytes_too(
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    receiver.mood = "broken"
    recorder = record(queue_bytes=20_000, image_share=1.0)
    for index in range(2_000):
        _offer(recorder, picture(), f"a-{index}")
        assert recorder._room(recorder._report) >= 0
    assert 0 < recorder.pending < 50
    receiver.mood = "fine"
    _until(lambda: recorder.pending == 0 and recorder._room(recorder._report) == 20_000)
    _until(lambda: counters.values[PICTURES + "/skipped"] > 0)


def test_uncertain_pictures_and_a_random_share_are_sent(
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
    receiver.wait_for(100, timeout=20.0)
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
    recorder = record()
    _offer(recorder, picture(), "first")
    _process(recorder)
    monkeypatch.setattr(module, "INTERVAL_S", 30.0)
    _offer(recorder, picture(), *(f"a-{index}" for index in range(100)))
    recorder.close(5.0)
    assert len(receiver.records) == 101 and recorder.pending == 0
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
    receiver: Receiver, record: Callable[..., Recorder], counters: Counters, picture: Picture
) -> None:
    recorder = record()
    _offer(recorder, b"\xff\xd8\xff no picture", "bad")
    _offer(recorder, picture(), "good")
    assert [one["id"] for one in receiver.wait_for(1, timeout=20.0)] == ["good"]
    _until(lambda: counters.values[DROPPED] == 1)


def test_a_process_that_is_killed_is_started_again_and_what_it_had_is_counted(
    receiver: Receiver,
    record: Callable[..., Recorder],
    counters: Counters,
    caplog: pytest.LogCaptureFixture,
    picture: Picture,
) -> None:
    recorder = record()
    _offer(recorder, picture(), "sent")
    receiver.wait_for(1, timeout=20.0)
    _until(lambda: counters.values.get(SENT) == 1)
    receiver.mood = "broken"
    _offer(recorder, picture(), "lost", "lost too")
    _until(lambda: recorder._report.taken == 3)
    os.kill(_process(recorder), signal.SIGKILL)
    _until(lambda: counters.values.get(FAILED) == 2)
    receiver.mood = "fine"
    _offer(recorder, picture(), "after")
    assert [one["id"] for one in receiver.wait_for(2, timeout=20.0)] == ["sent", "after"]
    _until(lambda: counters.values.get(SENT) == 2 and recorder.pending == 0)
    assert counters.values[FAILED] == 2 and counters.values[DROPPED] == 0
    assert "the process that sends records is started again: " in caplog.text


def test_a_process_that_cannot_be_started_is_tried_again_with_the_records_waiting(
    receiver: Receiver,
    record: Callable[..., Recorder],
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("puzzlenet.records.courier._COMMAND", ("/nowhere/python",))
        recorder = record()
        _offer(recorder, picture(), "a")
        _until(lambda: recorder._failures > 0)
        assert recorder.pending == 1
    assert [one["id"] for one in receiver.wait_for(1, timeout=20.0)] == ["a"]


def test_the_process_outlives_one_that_is_killed_until_it_has_sent_what_it_has(
    receiver: Receiver, record: Callable[..., Recorder], picture: Picture
) -> None:
    receiver.mood = "broken"
    worker = os.fork()
    if worker == 0:
        try:
            _offer(record(), picture(), "a")
            time.sleep(60)
        finally:
            os._exit(0)
    try:
        _until(lambda: receiver.requests >= 2)  # the next try is more than half a second away
        receiver.mood = "fine"
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    assert [one["id"] for one in receiver.wait_for(1, timeout=20.0)] == ["a"]


def test_the_process_is_small_and_gives_way(record: Callable[..., Recorder], picture: Picture) -> None:
    recorder = record()
    _offer(recorder, picture(), "a", confidence=0.5)
    _until(lambda: recorder.pending == 0)
    pid = _process(recorder)
    loaded = Path(f"/proc/{pid}/maps").read_text()
    assert "numpy" in loaded and "libtorch" not in loaded, "torch alone would take ten times its memory"
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)


def test_a_process_that_is_stuck_is_killed_and_another_one_goes_on(
    receiver: Receiver,
    record: Callable[..., Recorder],
    counters: Counters,
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
) -> None:
    monkeypatch.setattr("puzzlenet.records.courier.PATIENCE_S", 0.5)
    recorder = record()
    _offer(recorder, picture(), "sent")
    _until(lambda: counters.values.get(SENT) == 1)
    os.kill(_process(recorder), signal.SIGSTOP)
    for index in range(300):  # more than the pipe holds: the last frame is cut in the middle
        _offer(recorder, picture(), f"a-{index}")
    _until(lambda: counters.values[FAILED] > 0 and recorder.pending == 0)
    ids = [one["id"] for one in receiver.wait_for(2, timeout=20.0)]
    assert len(ids) == len(set(ids)) and ids[-1] == "a-299"
    _until(lambda: counters.values[SENT] + counters.values[FAILED] == 301)
