"""Pages of a list that grows while it is read: a cursor is the last row that was seen, not a number of rows to skip."""

from __future__ import annotations

import base64
import binascii
import re

from puzzle_monitor.core.faults import wrong

_POSITION = re.compile(rb"(\d{1,18})\.(\d{1,18})", re.ASCII)


def encode(at: int, seq: int) -> str:
    """The cursor behind a row."""
    return base64.urlsafe_b64encode(f"{at}.{seq}".encode()).decode().rstrip("=")


def decode(text: str) -> tuple[int, int]:
    """The row that a cursor stands behind. Raises Refused."""
    try:
        found = _POSITION.fullmatch(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise wrong("cursor", "is none of ours: send back `next` of the page before, unchanged")
    return int(found[1]), int(found[2])
