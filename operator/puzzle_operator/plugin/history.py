"""What was decided, when and why, oldest first: the newest stands next to the prompt."""

from __future__ import annotations

from rich.text import Text

from puzzle_operator.core.names import short

from .snapshot import Snapshot
from .text import Page, paragraph

_STYLES = {"Promoted": "green", "Deployed": "green", "RolledBack": "red"}


def history(s: Snapshot, page: Page) -> list[Text]:
    """Two or more lines for each decision: time, version, outcome, what it met; and the reason with its numbers."""
    if not s.status.history:
        return [Text("nothing was decided yet")]
    lines: list[Text] = []
    for entry in s.status.history:
        line = Text(f"{entry.at:%Y-%m-%d %H:%M:%S}Z  ").append(f"{short(entry.version):<12}", "bold")
        line.append("  ").append(entry.outcome, _STYLES.get(str(entry.outcome), "yellow"))
        if entry.replaced:
            verb = "replaced" if entry.outcome == "Promoted" else "against"
            line.append(f", {verb} {short(entry.replaced)}")
        lines += [line, *paragraph(entry.message, page, " " * 22, style="dim")]
    return lines
