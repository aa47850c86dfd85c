"""Pages of a list that grows while it is read: a cursor is the last row that was seen, not a number of rows to skip."""

from __future__ import annotations

import base64
import binascii
import re

from puzzle_monitor.core.faults import wrong
from puzzle_monitor.core.stored import Order, Position

_TIME = re.compile(rb"(\d{1,18})\.(\d{1,18})", re.ASCII)
_CONFIDENCE = re.compile(rb"c(\d(?:\.\d{1,20})?(?:e-\d{1,3})?):(\d{1,18})", re.ASCII)


def encode(position: Position) -> str:
    """The cursor behind a row."""
    value, seq = position
    text = f"{value}.{seq}" if isinstance(value, int) else f"c{value!r}:{seq}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str, order: Order) -> Position:
    """The row that a cursor stands behind. Raises Refused."""
    pattern = _CONFIDENCE if order is Order.UNCERTAIN else _TIME
    try:
        found = pattern.fullmatch(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise wrong("cursor", "is none of ours in this order: send back `next` of the page before, unchanged")
    return (float(found[1]) if order is Order.UNCERTAIN else int(found[1])), int(found[2])
