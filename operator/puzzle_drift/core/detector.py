"""What every detector is to the rest: it looks at one record at a time, and can be written down and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from puzzle_drift.core.records import Record, Reference
from puzzle_drift.core.sizing import Plan
from puzzle_drift.core.wanted import DriftSettings

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Look:
    """One test."""

    score: float
    threshold: float
    exceeds: bool
    p_value: float | None = None


class Detector(Protocol):
    """A detector with its state. Equal arrays mean equal answers for ever: that is what a restart relies on."""

    name: str
    """Of its statistic, for sentences."""

    def usable(self, record: Record) -> bool:
        """Whether the record has what is looked at: an embedding of the right size, a label."""

    def look(self, record: Record) -> Look | None:
        """Take in one usable record; a test, unless the window for it is not full."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it: state, thresholds and which references it uses."""


class Backend(Protocol):
    """Makes detectors of a kind."""

    def plan(self, wanted: DriftSettings, reference: Reference, memory: int) -> Plan:
        """Sizes that fit into so many bytes. Raises Refused."""

    def build(self, wanted: DriftSettings, plan: Plan, reference: Reference, seed: int, /) -> Detector:
        """Simulate thresholds; may take a minute. Raises Refused."""

    def restore(self, wanted: DriftSettings, plan: Plan, reference: Reference, arrays: Arrays, /) -> Detector:
        """Take up where `arrays` was written; nothing is simulated. Raises KeyError or ValueError if it cannot be."""
