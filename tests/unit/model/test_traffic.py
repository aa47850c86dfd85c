"""Work beside serving: it waits for a gap between requests, and not for ever."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from puzzlenet import counters as module
from puzzlenet.counters import Counters
from puzzlenet.traffic import SETTLE_S, Traffic

FOREVER_S = 60.0
# How long is watched that something does not happen: many times the time in which it would.
WATCHED_S = 100 * SETTLE_S


def _waiting(traffic: Traffic, longest: float) -> threading.Event:
    """Set once a thread has found its gap."""
    found = threading.Event()

    def wait() -> None:
        traffic.gap(longest)
        found.set()

    threading.Thread(target=wait, daemon=True).start()
    return found


def test_where_nothing_is_asked_there_is_a_gap_at_once() -> None:
    assert _waiting(Traffic(), FOREVER_S).wait(5.0)


def test_a_request_is_waited_for_and_no_longer() -> None:
    traffic = Traffic()
    with traffic:
        found = _waiting(traffic, FOREVER_S)
        assert not found.wait(WATCHED_S)
    assert found.wait(5.0)


def test_a_request_that_fails_is_over_too() -> None:
    traffic = Traffic()
    with pytest.raises(ValueError, match="no picture"), traffic:
        raise ValueError("no picture")
    assert _waiting(traffic, FOREVER_S).wait(5.0)


def test_requests_one_on_the_heels_of_the_other_leave_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puzzlenet.traffic.SETTLE_S", 0.05)
    traffic = Traffic()
    found = _waiting(traffic, FOREVER_S)
    ends = time.monotonic() + 0.5
    while time.monotonic() < ends:
        with traffic:
            pass
        time.sleep(0.001)
    assert not found.is_set()
    assert found.wait(5.0)


def test_a_gap_is_for_one_piece_of_work() -> None:
    traffic = Traffic()
    with traffic:
        pass
    assert _waiting(traffic, FOREVER_S).wait(5.0)
    found = _waiting(traffic, FOREVER_S)
    assert not found.wait(WATCHED_S)
    with traffic:
        pass
    assert found.wait(5.0)


def test_where_nothing_more_is_asked_work_goes_on() -> None:
    traffic = Traffic()
    for _ in range(5):
        assert _waiting(traffic, 0.02).wait(5.0)


def test_without_any_gap_the_work_is_done_all_the_same() -> None:
    traffic = Traffic()
    with traffic:
        assert _waiting(traffic, 0.05).wait(5.0)
        assert _waiting(traffic, 0.0).wait(5.0)


class Lines:
    """What was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, str]] = []

    def __call__(self, name: str, value: float, labels: Sequence[str]) -> None:
        self.told.append((name, value, "".join(labels)))

    def until(self, count: int) -> list[tuple[str, float, str]]:
        deadline = time.monotonic() + 5.0
        while len(self.told) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.told


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def lines(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> Lines:
    monkeypatch.setattr(module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(module, "_PATIENCE_S", FOREVER_S)
    return Lines()


@pytest.fixture
def counters(lines: Lines, traffic: Traffic) -> Iterator[Counters]:
    running = Counters(lines, [("seen", "ok"), ("seen", "scratch"), ("low", "")], traffic)
    yield running
    running.close()


def test_what_was_counted_is_told_once_and_wholes_before_their_parts(counters: Counters, lines: Lines) -> None:
    assert lines.told == [("seen", 0, "ok"), ("seen", 0, "scratch"), ("low", 0, "")], "a rate exists from the start"
    counters.add("low")
    counters.add("seen", "ok", 2)
    counters.tell()
    counters.tell()
    assert lines.told[3:] == [("seen", 2, "ok"), ("low", 1, "")]


def test_counters_are_told_in_the_next_gap(counters: Counters, lines: Lines, traffic: Traffic) -> None:
    with traffic:
        counters.add("low")
        time.sleep(WATCHED_S)
        assert len(lines.told) == 3
    assert lines.until(4)[3:] == [("low", 1, "")]


def test_at_the_end_the_last_ones_are_told_whatever_goes_on(counters: Counters, lines: Lines, traffic: Traffic) -> None:
    with traffic:
        counters.add("low")
        counters.close()
        assert lines.told[3:] == [("low", 1, "")]
