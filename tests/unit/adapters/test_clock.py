"""The operator's clock: steady when the machine's jumps, and right in the long run."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from puzzle_operator.adapters.clock import SteadyClock
from tests.builders import T0

HOUR = 3600.0


class Machine:
    """A machine whose wall clock somebody sets."""

    def __init__(self) -> None:
        self.mark = self.offset = 0.0
        self.clock = SteadyClock(lambda: T0 + timedelta(seconds=self.mark + self.offset), lambda: self.mark)

    def after(self, seconds: float) -> float:
        """What the clock shows that much later, in seconds since the beginning."""
        self.mark += seconds
        return (self.clock() - T0).total_seconds()


def test_it_goes_as_the_wall_clock_does() -> None:
    machine = Machine()
    assert [machine.after(10.0) for _ in range(3)] == [10.0, 20.0, 30.0]


def test_a_jump_ahead_and_back_is_hardly_noticed() -> None:
    machine = Machine()
    machine.after(10.0)
    machine.offset = 6 * HOUR
    ahead = [machine.after(1.0) for _ in range(60)]
    assert ahead[0] == pytest.approx(11.1) and ahead[-1] == pytest.approx(10 + 60 * 1.1)
    machine.offset = 0.0
    back = [machine.after(1.0) for _ in range(120)]
    assert back == sorted(back), "it never goes back"
    assert back[-1] == pytest.approx(190.0), "and is right again"


@pytest.mark.parametrize("hours", [3.0, -3.0])
def test_a_clock_that_was_put_right_is_followed_slowly(hours: float) -> None:
    machine = Machine()
    machine.offset = hours * HOUR
    after_a_day = [machine.after(60.0) for _ in range(24 * 60)][-1]
    assert after_a_day - 24 * HOUR == pytest.approx(0.1 * 24 * HOUR if hours > 0 else -0.1 * 24 * HOUR)
    later = [machine.after(60.0) for _ in range(12 * 60)][-1]
    assert later - 36 * HOUR == pytest.approx(hours * HOUR)


def test_small_corrections_are_followed_at_once_and_a_jump_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    with caplog.at_level(logging.WARNING):
        machine.offset = 0.4
        assert machine.after(5.0) == pytest.approx(5.4)
        assert caplog.records == []
        machine.offset = 2 * HOUR
        for _ in range(2000):
            machine.after(1.0)
    (told,) = caplog.messages
    assert "+7200 s" in told
