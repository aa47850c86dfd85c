"""Durations: what people write, and what only looks like it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puzzle_common.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("0s", 0), ("1.5h", 5400), ("90d", 90 * 86_400)],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "m", "-5s", "+5s", "1h-5m", "1h 5m", " 5s", "5s\n", "5s!", "1w", "1y", "1e3s", "1..5s", "٣s"]
)
def test_what_is_no_duration_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit"):
        parse_duration(text)


def test_a_duration_has_bounds() -> None:
    assert parse_duration("36500d") == timedelta(days=36_500)
    for text in ("36501d", "999999999999999d", "36500d1s"):
        with pytest.raises(ValueError, match="too long"):
            parse_duration(text)
    with pytest.raises(ValueError, match="no time at all"):
        parse_duration("0h0s", positive=True)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.6, "1m"), (3600, "1h"), (5405, "1h30m5s"), (-3, "0s")])
def test_a_duration_is_written_as_people_write_it(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.integers(0, 36_500 * 86_400), st.booleans())
def test_what_is_written_is_read_again(seconds: int, days: bool) -> None:
    span = timedelta(seconds=seconds)
    assert parse_duration(format_duration(span, days=days)) == span


def test_days_are_written_where_they_are_asked_for() -> None:
    span = timedelta(days=90, minutes=5)
    assert (format_duration(span), format_duration(span, days=True)) == ("2160h5m", "90d5m")
