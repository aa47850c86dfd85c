"""Time as whole microseconds since 1970 UTC, as it is stored: exact, and the same in every database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A clock that shows less was never set."""
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9})([smhd])")


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of a moment with a time zone."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """The moment, in UTC, of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=value)


def show_duration(span: timedelta) -> str:
    """The shortest text that `parse_duration` reads as this."""
    seconds = int(span.total_seconds())
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def parse_duration(text: str) -> timedelta:
    """`30s`, `15m`, `24h` or `90d` as a timedelta.

    Raises:
        ValueError: if the text is no such duration, or longer than a century.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= 100 * 365 * 86400:
        raise ValueError(f"{text!r} is no duration: write a number and a unit, such as 30s, 15m, 24h or 90d")
    return timedelta(seconds=seconds)
