"""What was decided, when and why, oldest first: the newest stands next to the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from puzzle_operator.api.status import HistoryEntry
from puzzle_operator.core.names import short
from puzzle_operator.manifests.decisions import decision_records

from .record import OnRecord
from .snapshot import Snapshot
from .text import Page, paragraph

_STYLES = {"Promoted": "green", "Deployed": "green", "RolledBack": "red"}


def history(s: Snapshot, page: Page) -> list[Text]:
    """Two or more lines for each decision: time, version, outcome, what it met; and the reason with its numbers."""
    return entries(s.status.history, page)


def whole(record: Sequence[OnRecord], s: Snapshot | None, page: Page) -> list[Text]:
    """All that is on the monitor's record, and what the status has beyond it; `s` is None for a model that is gone."""
    known = {one.id for one in record}
    mine = [OnRecord.read(one) for one in decision_records(s.model)] if s is not None else []
    late = [one for one in mine if one.id not in known]
    several = len({one.uid for one in (*record, *mine)}) > 1
    lines: list[Text] = []
    for uid, made in groupby(record, key=lambda one: one.uid):
        if several:
            lines.append(Text(f"PuzzleModel {uid}", "dim"))
        lines += entries([one.entry for one in made], page)
    if late:
        lines.append(Text("not on the monitor's record yet", "yellow"))
        lines += entries([one.entry for one in late], page)
    return lines or entries((), page)


def entries(found: Sequence[HistoryEntry], page: Page) -> list[Text]:
    """The lines of some decisions."""
    if not found:
        return [Text("nothing was decided yet")]
    lines: list[Text] = []
    for entry in found:
        line = Text(f"{entry.at:%Y-%m-%d %H:%M:%S}Z  ").append(f"{short(entry.version):<12}", "bold")
        line.append("  ").append(entry.outcome, _STYLES.get(str(entry.outcome), "yellow"))
        if entry.replaced:
            verb = "replaced" if entry.outcome == "Promoted" else "against"
            line.append(f", {verb} {short(entry.replaced)}")
        lines += [line, *paragraph(entry.message, page, " " * 22, style="dim")]
    return lines
