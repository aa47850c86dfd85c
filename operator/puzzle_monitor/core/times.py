"""Time as whole microseconds since 1970 UTC, as it is stored: exact, and the same in every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A clock that shows less was never set."""


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of a moment with a time zone."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """The moment, in UTC, of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=value)
