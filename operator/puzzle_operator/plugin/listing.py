"""Many models, one line each: the columns of `kubectl get puzzlemodels`, with the weight that is wanted next to the one
that KServe shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from puzzle_operator.api.conditions import Reason
from puzzle_operator.core.names import short

from . import gates, watched
from .snapshot import Snapshot
from .text import Page, age, phase_style, verdict_style


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, what stands below it, and how soon it is left out when there is no room (0: never)."""

    title: str
    cell: Callable[[Snapshot], str]
    goes: int = 0
    style: Callable[[Snapshot], str] = lambda _: ""


def weight(s: Snapshot) -> str:
    """The challenger's share: `25`, or `10>25` while KServe is on its way there; `-` at rest."""
    if s.status.active is None:
        return "-"
    wanted, seen = (s.status.weight.wanted if s.status.weight else 0), s.challenger_share()
    return str(seen) if seen == wanted else f"{seen}>{wanted}"


def awaits(s: Snapshot) -> str:
    """What a person is waited for with: consent to a gate, a decision on what is inconclusive, the end of a pause."""
    if s.model.spec.paused:
        return "resume"
    if s.status.active is not None and s.status.reason in {Reason.INCONCLUSIVE, Reason.HELD_CHALLENGER_DRIFT}:
        return "decision"
    return gates.awaited(s.model) or "-"


AWAITS, DRIFT, INPUT = "AWAITS", "DRIFT", "INPUT"
COLUMNS = (
    Column("NAMESPACE", lambda s: s.model.namespace),
    Column("NAME", lambda s: s.model.name),
    Column("PHASE", lambda s: s.phase_name, style=lambda s: phase_style(s.status.phase)),
    Column("STEP", lambda s: s.status.step or "-"),
    Column("WEIGHT", weight),
    Column(AWAITS, awaits, style=lambda s: "" if awaits(s) == "-" else "bold yellow"),
    Column("VERDICT", lambda s: s.verdict_of(s.status.verdict) or "-", 5, lambda s: verdict_style(s.status.verdict)),
    Column("EVIDENCE", lambda s: s.status.evidence or "-", 4),
    Column("SAMPLES", lambda s: "-" if s.status.samples is None else str(s.status.samples), 3),
    Column(DRIFT, watched.drift_cell, 4, watched.drift_style),
    Column(INPUT, watched.input_cell, 4, watched.input_style),
    Column("CHAMPION", lambda s: short(s.champion), 2),
    Column("CHALLENGER", lambda s: short(s.challenger), 1),
    Column("AGE", lambda s: age(s.now - s.created) if s.created else "-", 3),
)


def rows(models: Sequence[Snapshot], page: Page, *, namespaces: bool) -> list[Text]:
    """A heading and a line for each model. What does not fit the width is left out, the least telling first; names are
    never cut, because they are copied. Where no model waits for a person, no column says so; nor of what nobody
    watches, nor of pictures that are all well."""
    spared = {"NAMESPACE"} if not namespaces else set()
    spared |= {AWAITS} if all(awaits(s) == "-" for s in models) else set()
    spared |= {DRIFT} if all(watched.drift_cell(s) == "-" for s in models) else set()
    spared |= {INPUT} if all(watched.input_cell(s) in {"-", "Healthy"} for s in models) else set()
    columns = [column for column in COLUMNS if column.title not in spared]
    widths = {c.title: max(len(c.title), *(len(c.cell(s)) for s in models)) for c in columns}
    while sum(widths[c.title] + 2 for c in columns) - 2 > page.width:
        spare = [c for c in columns if c.goes]
        if not spare:
            break
        least = min(c.goes for c in spare)
        columns.remove([c for c in spare if c.goes == least][-1])
    return [_line([(c.title, widths[c.title], "bold") for c in columns])] + [
        _line([(c.cell(s), widths[c.title], c.style(s)) for c in columns]) for s in models
    ]


def _line(cells: Sequence[tuple[str, int, str]]) -> Text:
    line = Text()
    for index, (cell, width, style) in enumerate(cells):
        line.append(cell, style)
        if index < len(cells) - 1:
            line.append(" " * (width - len(cell) + 2))
    return line


def headline(s: Snapshot) -> str:
    """One model in one line, for a log: `lyon/line-1 Canary 2/3 25 % Hold evidence +62% -0% samples 310: …`."""
    parts = [s.model.key, s.phase_name]
    if s.status.step and s.status.step != "bake":
        parts.append(s.status.step)
    if s.status.active is not None:
        parts.append(f"{weight(s)} %")
        parts += [str(verdict)] if (verdict := s.verdict_of(s.status.verdict)) else []
        parts += [f"evidence {s.status.evidence}"] if s.status.evidence else []
        parts += [f"samples {s.status.samples}"] if s.status.samples is not None else []
    parts += [f"awaits {awaits(s)}"] if awaits(s) != "-" else []
    return " ".join(parts) + (f": {s.status.message}" if s.status.message else "")
