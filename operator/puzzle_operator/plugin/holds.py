"""What of the line holds a rollout, and every way out of it: nobody should have to find out why nothing moves."""

from __future__ import annotations

from puzzle_operator.api.analysis import HoldOn
from puzzle_operator.api.conditions import Phase, Reason
from puzzle_operator.core.holds import HELD

from . import gates
from .snapshot import Snapshot

_FIELD = "spec.canary.analysis.holdOn"


def holds(s: Snapshot) -> bool:
    """Whether the line is what keeps the rollout where it is."""
    return s.status.active is not None and s.status.reason in HELD


def missing(s: Snapshot) -> list[str]:
    """For `explain`: what has to become of the line."""
    if not holds(s):
        return []
    if s.status.reason == Reason.HELD_INPUT_UNHEALTHY:
        return ["line: its pictures have to be as they should be; until then no clock runs"]
    return ["line: the challenger's drift has to be over or harmless; until then no clock runs"]


def remedies(s: Snapshot) -> list[str]:
    """The ways out that are the hold's own; `abort` is named anyway."""
    if not holds(s):
        return []
    found = []
    if s.status.reason == Reason.HELD_INPUT_UNHEALTHY:
        found += [
            "look at the camera, its light and its connection: it goes on by itself once the pictures are well",
            "where the pictures are to stay as they are, teach that to the monitor: limits in spec.dataQuality, or "
            f"DELETE /v1/lines/{s.model.namespace}/{s.model.name}/{s.model.spec.line}/usual",
        ]
    found += _going_on(s)
    keeps = [str(kind) for kind in s.model.spec.canary.analysis.hold_on if kind is not _HOLD_ON[s.status.reason or ""]]
    found.append(f"{_FIELD}: [{', '.join(keeps)}] has no rollout of this model wait for that")
    return found


_HOLD_ON: dict[str, HoldOn] = {
    Reason.HELD_INPUT_UNHEALTHY: HoldOn.INPUT_UNHEALTHY,
    Reason.HELD_CHALLENGER_DRIFT: HoldOn.CHALLENGER_DRIFT,
}


def _going_on(s: Snapshot) -> list[str]:
    gate, command = gates.gate(s.model), f"kubectl puzzle promote {s.arguments} --without-evidence"
    if s.status.phase is not Phase.CANARY or gate is None or s.model.spec.paused or s.target != s.challenger:
        return []
    return [f"`{command}` goes on to {gates.label(s.model, gate)} all the same"]
