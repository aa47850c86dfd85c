"""From what the monitor says to the parts of the status that show it, with conditions and events.

Pure, and apart from the rules of a rollout: nothing here moves traffic. Through an outage the last words are kept, so
that neither the outage nor its end is announced as news about the pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from puzzle_common.durations import format_duration
from puzzle_operator.api.conditions import ConditionType, Reason
from puzzle_operator.api.monitoring import (
    MAX_PROBLEMS,
    MAX_REPORTS,
    AccuracyStatus,
    DriftPhase,
    DriftReport,
    DriftStatus,
    Harm,
    InputProblem,
    InputStatus,
    LabelCount,
    VersionAccuracy,
)
from puzzle_operator.api.status import PuzzleModelStatus

from .facts import Missing, MissingKind
from .monitor import InputHealth, VersionDrift, VersionLabels
from .names import short
from .situation import Flag, Note, Situation

Part = TypeVar("Part")
Entry = TypeVar("Entry", VersionDrift, VersionLabels)
ALARMED = frozenset({DriftPhase.SUSPECTED, DriftPhase.CONFIRMED})
_LONGEST = 500
UNKNOWN = "Unknown"
"""What a column shows while the monitor does not say."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[Part]):
    """One part of the status, its condition, and what is news in it."""

    part: Part | None
    flag: Flag
    notes: tuple[Note, ...] = ()


def see_drift(s: Situation, before: PuzzleModelStatus, status: PuzzleModelStatus) -> Seen[DriftStatus]:
    """Drift of the champion; every version's report beside it."""
    spec, monitor, old = s.facts.model.spec, s.facts.monitor, before.drift
    if isinstance(monitor, Missing):
        kept = old.but(shown=UNKNOWN, message=monitor.reason) if old is not None and _is_outage(monitor) else None
        return Seen(kept, _missing(monitor))
    if not (spec.drift.enabled and spec.records.enabled):
        field = "spec.drift.enabled" if spec.records.enabled else "spec.records.enabled"
        return Seen(None, Flag("Unknown", Reason.DRIFT_NOT_WATCHED, f"{field} is false"))
    champion = status.champion.version if status.champion else None
    report = monitor.drift_of(champion) if champion else None
    reports = tuple(map(_report, _ours(monitor.drift, status)))
    if report is None:
        message = f"no detector has looked at {short(champion)} yet" if champion else "no version serves yet"
        last = DriftStatus(shown=UNKNOWN) if old is None else old.but(shown=UNKNOWN)
        part = last.but(message=message, reports=reports, run_images=s.facts.run_images)
        return Seen(part, Flag("Unknown", Reason.DRIFT_NOT_WATCHED, message))
    harmful = report.does_harm
    part = DriftStatus(
        shown="Harmful" if harmful else str(report.phase),
        version=report.version,
        phase=report.phase,
        harmful=report.harmful,
        message=_sentence(report),
        run_images=s.facts.run_images,
        reports=reports,
    )
    return Seen(part, _drift_flag(report, harmful), _drift_notes(old, report, harmful))


def challengers_report(status: PuzzleModelStatus) -> DriftReport | None:
    """What the challenger's own detector says; None without one, and while the monitor is not heard."""
    flag = status.condition(ConditionType.DRIFT_DETECTED)
    silent = flag is not None and flag.reason == Reason.MONITOR_UNAVAILABLE
    if status.drift is None or status.challenger is None or silent:
        return None
    return next((one for one in status.drift.reports if one.version == status.challenger.version), None)


def _drift_flag(report: VersionDrift, harmful: bool) -> Flag:
    message = f"{short(report.version)}: {_sentence(report)}"
    if report.phase is DriftPhase.CONFIRMED:
        return Flag("True", Reason.DRIFT_HARMFUL if harmful else Reason.DRIFT_CONFIRMED, message)
    if report.phase is DriftPhase.COLLECTING:
        return Flag("Unknown", Reason.DRIFT_COLLECTING, message)
    suspected = report.phase is DriftPhase.SUSPECTED
    return Flag("False", Reason.DRIFT_SUSPECTED if suspected else Reason.NO_DRIFT, message)


def _drift_notes(old: DriftStatus | None, report: VersionDrift, harmful: bool) -> tuple[Note, ...]:
    """What changed since the monitor was last heard. Another champion is another detector: its alarms are news."""
    same = old is not None and old.version == report.version
    was = old.phase if old is not None else None
    said = f"{short(report.version)}: {_sentence(report)}"
    if report.phase not in ALARMED:
        return (Note(Reason.DRIFT_CLEARED, said),) if was in ALARMED else ()
    notes: list[Note] = []
    if not same or was is not report.phase:
        confirmed = report.phase is DriftPhase.CONFIRMED
        notes.append(Note(Reason.DRIFT_CONFIRMED if confirmed else Reason.DRIFT_SUSPECTED, said))
    if harmful and not (same and was is DriftPhase.CONFIRMED and old is not None and old.harmful is Harm.YES):
        notes.append(Note(Reason.DRIFT_HARMFUL, said))
    return tuple(notes)


def _sentence(report: VersionDrift) -> str:
    if report.message:
        return _cut(report.message)
    if report.score is None or report.threshold is None:
        return f"{report.images} pictures seen"
    return f"score {report.score:.4g}, threshold {report.threshold:.4g} after {report.images} pictures"


def _report(seen: VersionDrift) -> DriftReport:
    return DriftReport(
        version=seen.version,
        detector=seen.detector,
        backend=seen.backend,
        phase=seen.phase,
        harmful=seen.harmful,
        images=seen.images,
        score=_rounded(seen.score),
        threshold=_rounded(seen.threshold),
        p_value=_rounded(seen.p_value),
        since=seen.since,
        message=_cut(seen.message),
    )


def see_input(s: Situation, before: PuzzleModelStatus) -> Seen[InputStatus]:
    """Health of the line's pictures."""
    monitor, old = s.facts.monitor, before.input
    if isinstance(monitor, Missing):
        kept = old.but(shown=UNKNOWN, message=monitor.reason) if old is not None and _is_outage(monitor) else None
        return Seen(kept, _missing(monitor))
    if not s.facts.model.spec.records.enabled:
        return Seen(None, Flag("Unknown", Reason.INPUT_NOT_WATCHED, "spec.records.enabled is false"))
    seen = monitor.input
    if seen.healthy is None:
        message = _cut(seen.message) or "no picture was seen yet"
        last = (old or InputStatus(shown=UNKNOWN)).but(shown=UNKNOWN, message=message, problems=())
        return Seen(last, Flag("Unknown", Reason.INPUT_NOT_WATCHED, message))
    problems = tuple(
        InputProblem(kind=entry.kind, since=entry.since, message=_cut(entry.message))
        for entry in seen.problems[:MAX_PROBLEMS]
    )
    kinds = ",".join(entry.kind for entry in problems)
    message = _cut(seen.message or " ".join(entry.message for entry in problems)) or "pictures are as they should be"
    part = InputStatus(
        shown="Healthy" if seen.healthy else kinds or "Unhealthy",
        healthy="True" if seen.healthy else "False",
        problems=problems,
        message=message,
    )
    reason = Reason.INPUT_HEALTHY if seen.healthy else Reason.INPUT_UNHEALTHY
    flag = Flag("True" if seen.healthy else "False", reason, message)
    return Seen(part, flag, _input_notes(old, seen, message))


def _input_notes(old: InputStatus | None, seen: InputHealth, message: str) -> tuple[Note, ...]:
    bad = old is not None and old.healthy == "False"
    if seen.healthy:
        return (Note(Reason.INPUT_RECOVERED, message),) if bad else ()
    known = {entry.kind for entry in old.problems} if bad and old is not None else set()
    if bad and {entry.kind for entry in seen.problems} <= known:
        return ()
    return (Note(Reason.INPUT_UNHEALTHY, message),)


def see_accuracy(s: Situation, before: PuzzleModelStatus, status: PuzzleModelStatus) -> AccuracyStatus | None:
    """Accuracy by labels; absent before the first one."""
    monitor = s.facts.monitor
    if isinstance(monitor, Missing):
        return before.accuracy if _is_outage(monitor) else None
    if not monitor.labels.total:
        return None
    champion = monitor.accuracy_of(status.champion.version) if status.champion else None
    return AccuracyStatus(
        champion=_rounded(champion.accuracy) if champion else None,
        versions=tuple(
            VersionAccuracy(
                version=entry.version,
                labelled=entry.labelled,
                wrong=entry.wrong,
                accuracy=_rounded(entry.accuracy),
                window=format_duration(timedelta(seconds=entry.window)),
            )
            for entry in _ours(monitor.accuracy, status)
        ),
        labels=LabelCount(total=monitor.labels.total, images=monitor.labels.images, size=monitor.labels.size),
    )


def _ours(entries: tuple[Entry, ...], status: PuzzleModelStatus) -> tuple[Entry, ...]:
    """Champion, challenger, then others, as many as are shown."""
    first = [ref.version for ref in (status.champion, status.challenger) if ref is not None]

    def place(entry: Entry) -> int:
        return first.index(entry.version) if entry.version in first else len(first)

    return tuple(sorted(entries, key=place)[:MAX_REPORTS])


def _is_outage(monitor: Missing) -> bool:
    """Whether what was last heard may still be true."""
    return monitor.kind is MissingKind.UNAVAILABLE


def _missing(monitor: Missing) -> Flag:
    reason = Reason.MONITOR_UNAVAILABLE if _is_outage(monitor) else Reason.NO_MONITOR
    return Flag("Unknown", reason, monitor.reason)


def _rounded(value: float | None) -> float | None:
    """To four digits: a status is read by people, and is written again whenever a digit changes."""
    return None if value is None else float(f"{value:.4g}")


def _cut(text: str) -> str:
    """A sentence of somebody else's that fits into a status."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
