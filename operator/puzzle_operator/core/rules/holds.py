"""A rollout waits for the line: bad pictures, or a drift that harms the challenger alone (`core/holds.py`)."""

from __future__ import annotations

from puzzle_operator.api.conditions import Phase
from puzzle_operator.core.approval import given
from puzzle_operator.core.situation import JUDGED, Move, Situation

from .progress import stay


def wait_for_the_line(s: Situation) -> Move | None:
    """The weight stays and the clock stands still; guards and Fail have had their say before this rule.

    A person who goes on without waiting for evidence goes on without waiting for this, too.
    """
    if s.hold is None or s.rollout is None or s.phase not in JUDGED | {Phase.STARTING}:
        return None
    approval = given(s)
    if approval is not None and approval.without_evidence:
        return None
    before = s.phase is Phase.STARTING
    where = "no traffic for the challenger" if before else f"the weight stays at {s.wanted} %"
    return stay(s, s.hold.reason, f"{where}: {s.hold.message}", s.hold.ends, held=True)
