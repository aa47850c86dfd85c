"""What the monitor has seen of a model, in words: drift, the health of its pictures, accuracy by people's labels."""

from __future__ import annotations

from rich.text import Text

from puzzle_operator.api.monitoring import AccuracyStatus, DriftReport, DriftStatus, InputStatus
from puzzle_operator.core.names import short
from puzzle_operator.core.watched import UNKNOWN, challengers_report

from .snapshot import Snapshot
from .text import Page, paragraph

_BAD = frozenset({"Confirmed", "Harmful"})
_LABEL = 12


def drift_cell(s: Snapshot) -> str:
    """One word for a column; `-` where nobody looks."""
    return s.status.drift.shown if s.status.drift else "-"


def input_cell(s: Snapshot) -> str:
    """As `drift_cell`."""
    return s.status.input.shown if s.status.input else "-"


def drift_style(s: Snapshot) -> str:
    """Red for what is confirmed, yellow for a suspicion."""
    shown = drift_cell(s)
    return "red" if shown in _BAD else "yellow" if shown == "Suspected" else ""


def input_style(s: Snapshot) -> str:
    """Red for pictures that are not what they should be."""
    return "" if input_cell(s) in {"-", "Healthy", UNKNOWN} else "red"


def sentences(s: Snapshot) -> tuple[str, ...]:
    """For `explain`: one each for drift, pictures and accuracy; nothing of what nobody watches."""
    status, found = s.status, []
    if status.drift is not None:
        found.append(f"drift: {_drift(status.drift)}")
        found += [f"drift of {short(r.version)}: {r.shown}; {r.message}" for r in _others(status.drift)]
    if status.input is not None:
        found.append(f"pictures: {_input(status.input)}")
    if status.accuracy is not None:
        found.append(f"accuracy: {_accuracy(status.accuracy, s)}")
    return tuple(found)


def lines(s: Snapshot, page: Page) -> list[Text]:
    """For `get`: a line each, below the versions."""
    status, found = s.status, list[Text]()
    parts = (
        ("drift", _drift(status.drift) if status.drift else "", drift_style(s)),
        ("", *_tried(s)),
        ("pictures", _input(status.input) if status.input else "", input_style(s)),
        ("labels", _accuracy(status.accuracy, s) if status.accuracy else "", ""),
    )
    for label, said, style in parts:
        if said:
            found += paragraph(said, page, label.ljust(_LABEL), " " * _LABEL, style=style)
    return [Text(), *found] if found else []


def _drift(drift: DriftStatus) -> str:
    return f"{drift.shown}; {drift.message}" if drift.message else drift.shown


def _tried(s: Snapshot) -> tuple[str, str]:
    """Drift of the challenger, and its colour; a detector of its own, so its score is not to be held against the
    champion's."""
    report = challengers_report(s.status)
    if report is None or not s.challenger:
        return "", ""
    said = f"challenger: {report.shown}" + (f"; {report.message}" if report.message else "")
    return said, "red" if report.shown in _BAD else ""


def _others(drift: DriftStatus) -> list[DriftReport]:
    return [report for report in drift.reports if report.version != drift.version]


def _input(seen: InputStatus) -> str:
    return f"{seen.shown}; {seen.message}" if seen.message else seen.shown


def _accuracy(seen: AccuracyStatus, s: Snapshot) -> str:
    parts = {s.champion: ", champion", s.challenger: ", challenger"}
    found = [
        f"{entry.accuracy:.1%} of {entry.labelled:,} labelled within {entry.window} ({short(entry.version)}"
        f"{parts.get(entry.version, '')})"
        for entry in seen.versions
        if entry.accuracy is not None
    ]
    kept = f"{seen.labels.total:,} labels ever, {seen.labels.images:,} with their picture"
    return "; ".join([*found, kept])
