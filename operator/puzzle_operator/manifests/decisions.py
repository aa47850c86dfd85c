"""Decisions about a model's champion as the monitor keeps them (docs/monitor.md). Pure.

`status.history` is the outbox: it is written with the decision itself, and outlives the operator. An entry becomes the
same record whenever it is read, up to its numbers, which are there while its rollout is the last one.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from datetime import datetime

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import VERSION_PATTERN
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import HistoryEntry, MetricStatus, PuzzleModelStatus, Rollout

KINDS = frozenset({"Deployed", "Adopted", "Promoted", "RolledBack", "Aborted", "Superseded"})
_LONGEST = 2_000
_MOST = 64
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ODD = re.compile(r"[^A-Za-z0-9._-]")


def decision_records(model: PuzzleModel) -> tuple[JsonObject, ...]:
    """What the history of a model says, in order. Entries that somebody made up by hand are passed over."""
    return tuple(_record(model, entry) for entry in model.status.history if _makes_sense(entry))


def _makes_sense(entry: HistoryEntry) -> bool:
    return entry.outcome in KINDS and re.match(VERSION_PATTERN, entry.version) is not None


def _record(model: PuzzleModel, entry: HistoryEntry) -> JsonObject:
    rollout = model.status.rollout
    mine = rollout if rollout is not None and _is_of(entry, rollout) else None
    parent = entry.replaced if entry.replaced and re.match(VERSION_PATTERN, entry.replaced) else None
    return {
        "id": _identity(model.uid, entry),
        "uid": model.uid,
        "at": entry.at.isoformat(),
        "line": model.spec.line,
        "kind": entry.outcome,
        "version": entry.version,
        "parent": parent,
        "reason": _reason(model.status, entry, mine),
        "message": _CONTROL.sub(" ", entry.message)[:_LONGEST],
        "numbers": dict(list(_numbers(model.status, entry.at, mine))[:_MOST]) if mine is not None else {},
    }


def _identity(uid: str, entry: HistoryEntry) -> str:
    """The same for the same decision, whoever reads it and however often."""
    text = "\n".join((uid, entry.at.isoformat(), entry.outcome, entry.version))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_of(entry: HistoryEntry, rollout: Rollout) -> bool:
    return entry.version == rollout.challenger and entry.at in {rollout.decided_at, rollout.finished_at}


def _reason(status: PuzzleModelStatus, entry: HistoryEntry, rollout: Rollout | None) -> str | None:
    if rollout is not None and rollout.cause is not None:
        word = rollout.cause.reason
    else:
        word = next((q.reason for q in status.quarantined if (q.version, q.at) == (entry.version, entry.at)), "")
    return word if re.fullmatch(r"[A-Za-z]{1,63}", word) else None


def _numbers(status: PuzzleModelStatus, at: datetime, rollout: Rollout) -> Iterator[tuple[str, float]]:
    yield "rollout.seconds", max(0.0, (at - rollout.started_at).total_seconds())
    if rollout.promoted_at is not None:
        yield "bake.seconds", max(0.0, (at - rollout.promoted_at).total_seconds())
    else:
        yield "rollout.step", float(rollout.step)
    for metric in status.metrics:
        name = _ODD.sub("_", metric.name)[:60]
        yield from ((f"{name}.{what}", value) for what, value in _measured(metric))


def _measured(metric: MetricStatus) -> Iterator[tuple[str, float]]:
    for name, side in (("champion", metric.champion), ("challenger", metric.challenger)):
        yield f"{name}.requests", float(side.requests)
        yield f"{name}.bad", float(side.bad)
    for name, value in (
        ("evidence", metric.evidence),
        ("bound", metric.bound),
        ("evidence_for", metric.evidence_for),
        ("bound_for", metric.bound_for),
    ):
        if value is not None and math.isfinite(value):
            yield name, value


__all__ = ["KINDS", "decision_records"]
