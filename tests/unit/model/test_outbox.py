"""What the sending process does with records: batches, tries, patience, pictures; against a real HTTP server."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puzzlenet.records import outbox as module
from puzzlenet.records.encode import Seen
from puzzlenet.records.outbox import Outbox
from puzzlenet.records.settings import BATCH, Origin, RecordSettings
from puzzlenet.records.tally import Report
from tests.receiver import Receiver

Picture = Callable[..., bytes]
ORIGIN = Origin(namespace="lyon", model="line-1", line="line-1", revision="line-1-00001", version="sha256:abc")
CLASSES = ("ok", "scratch")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver().start()
    yield running
    running.stop()


@pytest.fixture
def reports() -> list[Report]:
    """What was said, the latest at the end."""
    return [Report()]


@pytest.fixture
def outbox(
    receiver: Receiver, reports: list[Report], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Outbox]]:
    """Makes outboxes that look ten times a second and pause for less, and ends them."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.1)
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.05)
    made: list[Outbox] = []

    def make(**changes: Any) -> Outbox:
        settings = RecordSettings(**{"url": receiver.url, "origin": ORIGIN, **changes})
        made.append(Outbox(settings, CLASSES, lambda report: reports.append(Report.read(report.line()))))
        return made[-1]

    yield make
    receiver.mood = "fine"
    receiver.released.set()
    for one in made:
        one.close(2.0)


def _take(outbox: Outbox, picture: bytes, *ids: str, wanted: bool = False) -> None:
    for name in ids:
        seen = Seen(
            id=name,
            at=time.time(),
            label="ok",
            probabilities=(0.9, 0.1),
            picture_bytes=len(picture),
            format="png",
            size=(8, 8),
            pixels=np.full((8, 8, 3), 128, dtype=np.uint8),
            embedding=np.linspace(0.0, 1.0, 4, dtype=np.float32),
            picture=picture if wanted else None,
        )
        outbox.take(seen)


def _until(true: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_records_arrive_in_order_within_a_moment(
    receiver: Receiver, outbox: Callable[..., Outbox], reports: list[Report], picture: Picture
) -> None:
    box = outbox()
    _take(box, picture(), *(f"a-{index}" for index in range(30)))
    assert [one["id"] for one in receiver.wait_for(30)] == [f"a-{index}" for index in range(30)]
    _until(lambda: reports[-1].sent == 30)
    last = reports[-1]
    assert (last.taken, last.records, last.images, last.held, last.failed) == (30, 0, 0, 0, 0)


def test_batches_are_bounded_in_number_and_bytes(
    receiver: Receiver, outbox: Callable[..., Outbox], monkeypatch: pytest.MonkeyPatch, picture: Picture
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 4_000)
    box = outbox()
    _take(box, picture(), *(f"a-{index}" for index in range(450)))
    receiver.wait_for(450)
    assert len(receiver.records) == 450 and max(len(json.dumps(batch)) for batch in receiver.batches) < 6_000
    monkeypatch.setattr(module, "BATCH_BYTES", 1 << 20)
    _take(box, picture(), *(f"b-{index}" for index in range(450)))
    receiver.wait_for(900)
    assert max(len(batch) for batch in receiver.batches) == BATCH


@pytest.mark.parametrize("mood", ["broken", "busy", "hangs up"])
def test_what_failed_is_sent_again_under_the_same_ids(
    receiver: Receiver, outbox: Callable[..., Outbox], reports: list[Report], picture: Picture, mood: Any
) -> None:
    receiver.mood = mood
    box = outbox()
    _take(box, picture(), "a", "b", "c")
    _until(lambda: receiver.requests >= 2)
    assert reports[-1].records == 3 and reports[-1].held > 0
    receiver.mood = "fine"
    assert [one["id"] for one in receiver.wait_for(3)] == ["a", "b", "c"]
    _until(lambda: reports[-1].sent == 3)
    assert reports[-1].failed == 0


def test_a_monitor_that_asks_for_time_is_given_it(
    receiver: Receiver, outbox: Callable[..., Outbox], picture: Picture
) -> None:
    receiver.mood = "busy"  # Retry-After: 1
    box = outbox()
    _take(box, picture(), "a")
    _until(lambda: receiver.requests >= 1)
    started = time.monotonic()
    receiver.mood = "fine"
    receiver.wait_for(1)
    assert time.monotonic() - started > 0.8


def test_pauses_grow_while_the_monitor_is_away(
    receiver: Receiver, outbox: Callable[..., Outbox], picture: Picture
) -> None:
    receiver.mood = "broken"
    box = outbox()
    _take(box, picture(), "a")
    time.sleep(2.0)
    # 0.05 s, doubled each time: five or six tries in two seconds, and not forty.
    assert 3 <= receiver.requests <= 8


def test_what_is_too_old_is_given_up_for_what_is_new(
    receiver: Receiver,
    outbox: Callable[..., Outbox],
    reports: list[Report],
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
) -> None:
    monkeypatch.setattr(module, "KEEP_S", 0.3)
    receiver.mood = "broken"
    box = outbox()
    _take(box, picture(), "old")
    _until(lambda: reports[-1].failed == 1)
    _take(box, picture(), "new")
    receiver.mood = "fine"
    assert [one["id"] for one in receiver.wait_for(1)] == ["new"]


def test_a_refused_batch_is_dropped_counted_and_logged_once(
    receiver: Receiver,
    outbox: Callable[..., Outbox],
    reports: list[Report],
    caplog: pytest.LogCaptureFixture,
    picture: Picture,
) -> None:
    receiver.mood = "unprocessable"
    box = outbox()
    for index in range(3):
        _take(box, picture(), f"a-{index}")
        _until(lambda expected=index + 1: reports[-1].refused["422"] == expected)  # type: ignore[misc]
    assert box.pending == 0 and receiver.requests == 3
    assert [message for message in caplog.messages if "refuses" in message] == [
        "the monitor refuses records: 422 not today"
    ]


def test_the_token_is_read_again_when_it_changes_and_never_logged(
    receiver: Receiver,
    outbox: Callable[..., Outbox],
    reports: list[Report],
    caplog: pytest.LogCaptureFixture,
    picture: Picture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "token"
    token.write_text("first-secret\n")
    receiver.token = "second-secret"
    box = outbox(token_file=token)
    _take(box, picture(), "a")
    _until(lambda: reports[-1].refused["401"] == 1)
    (tmp_path / "new").write_text("second-secret\n")
    (tmp_path / "new").replace(token)
    _take(box, picture(), "b")
    assert [one["id"] for one in receiver.wait_for(1)] == ["b"]
    token.unlink()
    _take(box, picture(), "c")
    assert len(receiver.wait_for(2)) == 2, "a token that cannot be read again stays the token"
    assert "secret" not in caplog.text


def test_a_token_that_comes_late_finds_the_records_waiting(
    receiver: Receiver,
    outbox: Callable[..., Outbox],
    reports: list[Report],
    caplog: pytest.LogCaptureFixture,
    picture: Picture,
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    receiver.token = "a-secret"
    box = outbox(token_file=token)
    _take(box, picture(), "a")
    _until(lambda: "mount the monitor's Secret there); 1 wait" in caplog.text)
    assert receiver.requests == 0, "nothing is asked of the monitor without a token"
    token.write_text("a-secret\n")
    assert [one["id"] for one in receiver.wait_for(1)] == ["a"]
    assert reports[-1].refused["401"] == 0


def test_pictures_follow_their_records_as_jpeg(
    receiver: Receiver, outbox: Callable[..., Outbox], reports: list[Report], picture: Picture
) -> None:
    box = outbox()
    camera = picture(format="JPEG")
    _take(box, camera, "camera", wanted=True)
    _take(box, picture(), "png", wanted=True)
    _take(box, picture(), "none")
    _until(lambda: reports[-1].pictures["sent"] == 2)
    assert sorted(receiver.pictures) == ["camera", "png"]
    assert receiver.pictures["camera"] == camera
    assert receiver.pictures["png"].startswith(b"\xff\xd8\xff")
    assert reports[-1].held == 0


def test_at_the_end_what_waits_is_sent_at_once(
    receiver: Receiver,
    outbox: Callable[..., Outbox],
    reports: list[Report],
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 30.0)
    box = outbox()
    _take(box, picture(), *(f"a-{index}" for index in range(100)))
    box.close(5.0)
    assert len(receiver.records) == 100 and reports[-1].sent == 100 and reports[-1].records == 0


def test_at_the_end_a_monitor_that_is_away_is_not_waited_for(
    receiver: Receiver, outbox: Callable[..., Outbox], reports: list[Report], picture: Picture
) -> None:
    receiver.mood = "broken"
    box = outbox()
    _take(box, picture(), "a", "b")
    _until(lambda: receiver.requests >= 1)
    started = time.monotonic()
    box.close(0.5)
    assert time.monotonic() - started < 1.5
    _until(lambda: reports[-1].failed == 2 and reports[-1].records == 0)


def test_a_fault_of_its_own_stops_nothing(
    receiver: Receiver, outbox: Callable[..., Outbox], monkeypatch: pytest.MonkeyPatch, picture: Picture
) -> None:
    box = outbox()
    with monkeypatch.context() as patch:
        patch.setattr(box._sender, "post", lambda _: 1 / 0)
        _take(box, picture(), "good")
        _until(lambda: box._failures > 0)
    assert [one["id"] for one in receiver.wait_for(1)] == ["good"]
