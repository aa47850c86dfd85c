"""What the worker needs from the world, as Protocols, and what the world may answer with instead.

Unavailable     try again later; nothing is lost, the cursor stays where it was
Refused (core)  this one version cannot be watched; becomes its report
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from puzzle_drift.core.records import Record, Reference
from puzzle_drift.core.wanted import Key, Model, Storage


class Unavailable(Exception):  # noqa: N818 - reads as what it is: `except Unavailable`
    """Try again later."""


@dataclass(frozen=True, slots=True)
class Page:
    """Records in order of arrival, and where to read on."""

    records: Sequence[Record]
    next: int
    full: bool
    """There may be more at once."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the monitor keeps of a watch, in one transaction."""

    report: dict[str, Any]
    cursor: int
    state: bytes
    config: str


class Monitor(Protocol):
    """The monitor. Every call blocks and may raise Unavailable."""

    def models(self) -> Sequence[Model]:
        """Those with settings that can be understood."""

    def stream(self, key: Key, after: int) -> Page:
        """Records of a version behind a cursor."""

    def load(self, key: Key) -> Stored | None:
        """What was saved last."""

    def save(self, key: Key, stored: Stored) -> None:
        """Report, cursor and state: all or none."""


class Registry(Protocol):
    """Where versions lie. Every call blocks and may raise Unavailable, or Refused if it lacks what is needed."""

    def reference(self, storage: Storage, version: str) -> Reference:
        """The reference of a version, verified by its hashes."""
