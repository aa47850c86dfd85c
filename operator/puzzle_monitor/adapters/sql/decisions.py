"""Decisions about champions: rows are added and read. Nothing here, nor in pruning, changes or deletes one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from puzzle_monitor.adapters.sql.tables import decisions
from puzzle_monitor.core.stored import NewDecision, StoredDecision

_D = decisions.c


def append(connection: Connection, namespace: str, model: str, found: Sequence[NewDecision], now: int) -> int:
    """Add those whose ids are new; how many they are. The caller has the lock of writers."""
    there = set(connection.execute(select(_D.id).where(_D.id.in_([one.id for one in found]))).scalars())
    added = 0
    for one in found:
        if one.id in there:
            continue
        there.add(one.id)
        values = {"namespace": namespace, "model": model, "id": one.id, "at": one.at, "received": now}
        connection.execute(decisions.insert().values(**values, decision=one.decision))
        added += 1
    return added


def read(connection: Connection, namespace: str, model: str, before: int | None, limit: int) -> list[StoredDecision]:
    """The newest, or those that arrived before a `seq`; the newest first."""
    statement = select(_D.seq, _D.received, _D.decision).where(_D.namespace == namespace, _D.model == model)
    if before is not None:
        statement = statement.where(_D.seq < before)
    return [StoredDecision(*row) for row in connection.execute(statement.order_by(_D.seq.desc()).limit(limit))]


def newest_ids(connection: Connection, namespace: str, model: str, limit: int) -> tuple[str, ...]:
    """Ids of the newest, the newest first."""
    mine = select(_D.id).where(_D.namespace == namespace, _D.model == model)
    return tuple(connection.execute(mine.order_by(_D.seq.desc()).limit(limit)).scalars())
