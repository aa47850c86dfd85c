"""Durations as people write them: `30s`, `1h30m`, `90d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_MOST = timedelta(days=36_500)


def parse_duration(text: str, *, positive: bool = False) -> timedelta:
    """`250ms`, `90s`, `1.5h`, `1h30m` or `90d` as a timedelta.

    Raises:
        ValueError: if the text is no such duration, is above a century, or is zero where it must be positive.
    """
    if not text or _PART.sub("", text):
        raise ValueError(f"{text!r} is not a duration: write a number and a unit, such as 30s, 15m, 1h30m or 90d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _MOST.total_seconds():
        raise ValueError(f"{text!r} is too long a duration: write at most 36500d")
    if positive and not seconds:
        raise ValueError(f"{text!r} is no time at all: write a duration above zero")
    return timedelta(seconds=seconds)


def format_duration(span: timedelta, *, days: bool = False) -> str:
    """A timedelta as a person writes it, to the second: `1h30m`, `45s`; with `days`, `90d` instead of `2160h`."""
    seconds = max(0, round(span.total_seconds()))
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    text = ""
    for unit, size in units if days else units[1:]:
        number, seconds = divmod(seconds, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"
