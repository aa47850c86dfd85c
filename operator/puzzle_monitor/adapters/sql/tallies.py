"""What a write transaction adds to the counts, gathered so that each row is touched once, and in a fixed order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from puzzle_monitor.adapters.sql.tables import confusion, histogram, label_totals, scores, series
from puzzle_monitor.core.accuracy import bucket
from puzzle_monitor.core.feeds.digest import MINUTE
from puzzle_monitor.core.joining import Truth, moves


@dataclass(frozen=True, slots=True)
class Piece:
    """A prediction, as far as counts depend on it."""

    seq: int
    series_id: int
    at: int
    label: str
    classes: frozenset[str] = frozenset()
    has_image: bool = False
    image_bytes: int = 0


def _numbers(count: int) -> Any:  # a defaultdict of lists of zeros
    return defaultdict(lambda: [0] * count)


@dataclass(slots=True)
class Tallies:
    """Changes of the tables of counts."""

    counts: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    sums: defaultdict[tuple[int, str, int], float] = field(default_factory=lambda: defaultdict(float))
    cells: defaultdict[tuple[int, str, str], list[int]] = field(default_factory=lambda: _numbers(2))
    minutes: defaultdict[tuple[int, int], list[int]] = field(default_factory=lambda: _numbers(3))
    totals: defaultdict[int, list[int]] = field(default_factory=lambda: _numbers(3))

    def predicted(self, series_id: int, at: int, label: str, confidence: float) -> None:
        """A prediction was stored."""
        key = series_id, label, bucket(confidence)
        self.counts[key] += 1
        self.sums[key] += confidence
        self.minutes[series_id, at // MINUTE][0] += 1

    def labelled(self, piece: Piece, before: Truth, after: Truth) -> None:
        """What is held to be true of a prediction changed."""
        changes = moves(before, after)
        minute = self.minutes[piece.series_id, piece.at // MINUTE] if changes else [0, 0, 0]
        for move in changes:
            cell = self.cells[piece.series_id, piece.label, move.truth]
            cell[0] += move.first
            cell[1] += move.latest
            minute[1] += move.latest
            minute[2] += move.latest if move.truth != piece.label else 0
        if before.first is None and after.first is not None:
            self.totals[piece.series_id][0] += 1
            if piece.has_image:
                self.pictured(piece.series_id, piece.image_bytes)

    def pictured(self, series_id: int, size: int) -> None:
        """A prediction has both a label and a picture now."""
        self.totals[series_id][1] += 1
        self.totals[series_id][2] += size

    def flush(self, connection: Connection) -> None:
        """Add it all."""
        rows = [
            {"series_id": s, "label": label, "bucket": b, "n": n, "total": self.sums[s, label, b]}
            for (s, label, b), n in sorted(self.counts.items())
        ]
        add(connection, histogram, ("n", "total"), rows)
        cells = [
            {"series_id": s, "label": label, "truth": true, "first": first, "latest": latest}
            for (s, label, true), (first, latest) in sorted(self.cells.items())
        ]
        add(connection, confusion, ("first", "latest"), cells)
        columns = "predictions", "labelled", "wrong"
        minutes = [
            {"series_id": s, "minute": minute} | dict(zip(columns, numbers, strict=True))
            for (s, minute), numbers in sorted(self.minutes.items())
        ]
        add(connection, scores, columns, minutes)
        if self.totals:
            self._flush_totals(connection)

    def _flush_totals(self, connection: Connection) -> None:
        owners = select(series.c.id, series.c.namespace, series.c.model).where(series.c.id.in_(self.totals))
        sums: defaultdict[tuple[str, str], list[int]] = _numbers(3)
        for owner in connection.execute(owners):
            mine = sums[owner.namespace, owner.model]
            mine[:] = [a + b for a, b in zip(mine, self.totals[owner.id], strict=True)]
        columns = "total", "images", "bytes"
        rows = [
            {"namespace": namespace, "model": model} | dict(zip(columns, numbers, strict=True))
            for (namespace, model), numbers in sorted(sums.items())
        ]
        add(connection, label_totals, columns, rows)


def add(connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the columns of each row to what is there, or start with them."""
    if rows:
        connection.execute(_adding(connection.dialect.name, table, columns), list(rows))


def put(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Store a row, in place of the one with the same key."""
    connection.execute(_putting(connection.dialect.name, table, tuple(row)), dict(row))


# Building a statement costs more than carrying it out.
@cache
def _adding(engine: str, table: Table, columns: tuple[str, ...]) -> Any:
    statement = _insert(engine, table)
    changes = {name: table.c[name] + statement.excluded[name] for name in columns}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)


@cache
def _putting(engine: str, table: Table, columns: tuple[str, ...]) -> Any:
    statement = _insert(engine, table)
    changes = {name: statement.excluded[name] for name in columns if name not in table.primary_key.columns}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)


def _insert(engine: str, table: Table) -> Any:
    return sqlite.insert(table) if engine == "sqlite" else postgresql.insert(table)
