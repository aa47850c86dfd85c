"""What the labelled pieces said of the challenger before it had traffic."""

from __future__ import annotations

from rich.text import Text

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.replay import ReplayOutcome, ReplayStatus
from puzzle_operator.core.names import short

from .snapshot import Snapshot
from .text import Page, age, paragraph

_STYLES = {ReplayOutcome.PASSED: "green", ReplayOutcome.FAILED: "red", ReplayOutcome.SKIPPED: "yellow"}


def _of(s: Snapshot) -> ReplayStatus | None:
    return s.last.replay if s.last is not None else None


def sentences(s: Snapshot) -> tuple[str, ...]:
    """For `explain`."""
    replay = _of(s)
    if replay is None:
        return ()
    if not replay.is_going_on:
        return (replay.message,)
    if s.status.phase is not Phase.STARTING or replay.started_at is None:
        return ("a replay of labelled pieces was begun and not finished",)
    deadline = s.model.spec.canary.replay.deadline
    since = age(s.now - replay.started_at)
    return (f"{replay.message}; begun {since} ago, and the rollout goes on without it after {deadline}",)


def lines(s: Snapshot, page: Page) -> list[Text]:
    """For the tree: the outcome, and the sentence with the numbers."""
    replay = _of(s)
    if replay is None or s.last is None or (replay.is_going_on and s.status.phase is not Phase.STARTING):
        return []
    title = Text(f"labelled pieces shown to challenger {short(s.last.challenger)}  ", "bold")
    title.append(
        str(replay.outcome) if replay.outcome else "going on", _STYLES[replay.outcome] if replay.outcome else ""
    )
    # While it goes on the model's own message says the same.
    said = [] if replay.is_going_on else paragraph(replay.message, page, "  ")
    return [Text(), title, *said]
