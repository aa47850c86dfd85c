"""The alarm: suspected by one excess, confirmed by windows that share no image, latched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from puzzle_drift.core.alarm import Alarm, Moment, Phase, step

WINDOW = 4


def walk(excesses: str, confirm: int = 3) -> list[Alarm]:
    """One look for each character; `x` exceeds."""
    alarm, seen = Alarm(), []
    for index, mark in enumerate(excesses, 1):
        alarm = step(alarm, mark == "x", Moment(f"t{index}", 10 * index, index), WINDOW, confirm)
        seen.append(alarm)
    return seen


def phases(excesses: str, confirm: int = 3) -> str:
    return "".join(alarm.phase.value[:2] + " " for alarm in walk(excesses, confirm)).strip()


def test_it_collects_until_the_first_window_is_full() -> None:
    assert phases("......") == "Co Co Co No No No"


def test_three_windows_without_overlap_confirm() -> None:
    assert phases("....xxxxxxxxxx") == "Co Co Co No Su Su Su Su Su Su Su Su Co Co"
    last = walk("....xxxxxxxxx")[-1]
    assert last.phase is Phase.CONFIRMED
    assert (last.since, last.since_seq, last.since_images, last.confirmed_images) == ("t5", 50, 5, 13)


def test_looks_in_between_neither_confirm_nor_clear() -> None:
    assert walk("....x...x...x")[-1].phase is Phase.CONFIRMED
    assert walk("....xxxx.xxxx")[-1].phase is not Phase.CONFIRMED


def test_a_window_below_the_threshold_clears_the_suspicion() -> None:
    cleared = walk("....x....")[-1]
    assert (cleared.phase, cleared.since, cleared.agreed) == (Phase.NONE, None, 0)


def test_confirmed_is_latched() -> None:
    assert walk("....xxxxxxxxx" + "." * 200)[-1].phase is Phase.CONFIRMED


def test_one_window_may_be_enough() -> None:
    assert phases("....x.", confirm=1) == "Co Co Co No Co Co"
    assert walk("....x.", confirm=1)[-1].phase is Phase.CONFIRMED


@given(st.text("x.", max_size=80), st.integers(1, 5))
def test_confirmation_needs_as_many_excesses_a_window_apart(excesses: str, confirm: int) -> None:
    alarms = walk(excesses, confirm)
    for index, alarm in enumerate(alarms):
        if alarm.phase is Phase.CONFIRMED:
            marks = [alarm.since_images - 1 + WINDOW * number for number in range(confirm)]
            assert all(excesses[mark] == "x" for mark in marks)
            assert marks[-1] <= index
        if index and alarms[index - 1].phase is Phase.CONFIRMED:
            assert alarm.phase is Phase.CONFIRMED
            assert alarm.since == alarms[index - 1].since
