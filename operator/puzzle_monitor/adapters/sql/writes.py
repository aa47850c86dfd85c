"""One write transaction: predictions, then labels, then pictures. The caller has seen to it that nobody else writes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from puzzle_monitor.adapters.sql.tables import confusion, feedback, histogram, predictions, series
from puzzle_monitor.core.accuracy import bucket
from puzzle_monitor.core.joining import Mark, Truth, moves, truth
from puzzle_monitor.core.records import Feedback, Record, pack
from puzzle_monitor.core.stored import Series
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import ImageMark, Outcome, Outcomes, Work

_CHUNK = 1_000


def write(connection: Connection, work: Work, now: int, oldest: int) -> Outcomes:
    """Store all of it, on an open transaction."""
    tallies = _Tallies()
    records = _write_records(connection, work.records, now, oldest, tallies)
    labels, strange = _write_feedback(connection, work.feedback, now, oldest, tallies)
    images = _write_images(connection, work.images)
    tallies.flush(connection)
    return Outcomes(records, labels, images, strange)


@dataclass(slots=True)
class _Tallies:
    """What is to be added to the counts, gathered so that each row is touched once, and in a fixed order."""

    counts: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    sums: defaultdict[tuple[int, str, int], float] = field(default_factory=lambda: defaultdict(float))
    cells: defaultdict[tuple[int, str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def predicted(self, series_id: int, record: Record) -> None:
        key = series_id, record.label, bucket(record.confidence)
        self.counts[key] += 1
        self.sums[key] += record.confidence

    def labelled(self, series_id: int, label: str, before: Truth, after: Truth) -> None:
        for move in moves(before, after):
            cell = self.cells[series_id, label, move.truth]
            cell[0] += move.first
            cell[1] += move.latest

    def flush(self, connection: Connection) -> None:
        rows = [
            {"series_id": s, "label": label, "bucket": b, "n": n, "total": self.sums[s, label, b]}
            for (s, label, b), n in sorted(self.counts.items())
        ]
        _add(connection, histogram, ("n", "total"), rows)
        cells = [
            {"series_id": s, "label": label, "truth": true, "first": first, "latest": latest}
            for (s, label, true), (first, latest) in sorted(self.cells.items())
        ]
        _add(connection, confusion, ("first", "latest"), cells)


def _add(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Add the columns of each row to what is there, or start with them."""
    if not rows:
        return
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + statement.excluded[name] for name in columns},
    )
    connection.execute(statement, list(rows))


def _write_records(
    connection: Connection, records: Sequence[Record], now: int, oldest: int, tallies: _Tallies
) -> tuple[Outcome, ...]:
    known = _known(connection, {record.id for record in records}) if records else {}
    fresh: dict[str, Record] = {}
    outcomes = []
    for record in records:
        identity = _identity(record)
        there = known.get(record.id)
        if there is not None:
            outcomes.append(Outcome.DUPLICATE if there == identity else Outcome.CONFLICT)
        elif micros(record.at) < oldest:
            outcomes.append(Outcome.EXPIRED)
        else:
            known[record.id] = identity
            fresh[record.id] = record
            outcomes.append(Outcome.STORED)
    if fresh:
        _insert(connection, tuple(fresh.values()), now, tallies)
    return tuple(outcomes)


def _identity(record: Record) -> tuple[Series, int, str]:
    """What two records of the same id must agree in to be the same record."""
    return Series.of(record), micros(record.at), record.label


def _known(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[Series, int, str]]:
    statement = select(
        predictions.c.id,
        predictions.c.at,
        predictions.c.label,
        series.c.namespace,
        series.c.model,
        series.c.line,
        series.c.revision,
        series.c.version,
    ).join(series, series.c.id == predictions.c.series_id)
    return {
        row.id: (Series(row.namespace, row.model, row.line, row.revision, row.version), row.at, row.label)
        for part in _chunks(ids)
        for row in connection.execute(statement.where(predictions.c.id.in_(part)))
    }


def _insert(connection: Connection, records: Sequence[Record], now: int, tallies: _Tallies) -> None:
    ids = _series_ids(connection, records)
    marks = _marks(connection, [record.id for record in records])
    rows = []
    for record in records:
        series_id = ids[Series.of(record)]
        true = truth(marks.get(record.id, ()))
        tallies.predicted(series_id, record)
        tallies.labelled(series_id, record.label, Truth(), true)
        rows.append(_row(record, series_id, now) | _truth_columns(true))
    connection.execute(predictions.insert(), rows)


def _row(record: Record, series_id: int, now: int) -> dict[str, Any]:
    return {
        "id": record.id,
        "at": micros(record.at),
        "received": now,
        "series_id": series_id,
        "label": record.label,
        "confidence": record.confidence,
        "probabilities": json.dumps(record.probabilities, ensure_ascii=False, separators=(",", ":")),
        "image": record.image.model_dump_json(exclude_none=True),
        "embedding": pack(record.embedding),
    }


def _truth_columns(true: Truth) -> dict[str, Any]:
    latest = true.latest
    return {
        "first_truth": true.first,
        "truth": latest.label if latest else None,
        "truth_at": latest.at if latest else None,
        "truth_by": latest.who if latest else None,
    }


def _series_ids(connection: Connection, records: Sequence[Record]) -> dict[Series, int]:
    """The number of each series, made on first sight; remembers when it was last seen and which classes it has."""
    seen: dict[Series, int] = {}
    classes: dict[Series, set[str]] = {}
    for record in records:
        one = Series.of(record)
        seen[one] = max(seen.get(one, 0), micros(record.at))
        classes.setdefault(one, set()).update(record.probabilities)
    found = {}
    for one in sorted(seen):
        where = [series.c[name] == value for name, value in zip(_NAMES, one.key, strict=True)]
        row = connection.execute(select(series.c.id, series.c.classes, series.c.seen).where(*where)).one_or_none()
        names = sorted(classes[one].union(json.loads(row.classes) if row else ()))
        values = {"classes": json.dumps(names, ensure_ascii=False), "seen": max(seen[one], row.seen if row else 0)}
        if row is None:
            new = series.insert().values(**dict(zip(_NAMES, one.key, strict=True)), **values).returning(series.c.id)
            found[one] = connection.execute(new).scalar_one()
        else:
            connection.execute(update(series).where(series.c.id == row.id).values(**values))
            found[one] = row.id
    return found


_NAMES = ("namespace", "model", "line", "revision", "version")


def _marks(connection: Connection, ids: Iterable[str]) -> dict[str, list[Mark]]:
    found: dict[str, list[Mark]] = defaultdict(list)
    columns = feedback.c.prediction_id, feedback.c.seq, feedback.c.label, feedback.c.who, feedback.c.at
    for part in _chunks(ids):
        for row in connection.execute(select(*columns).where(feedback.c.prediction_id.in_(part))):
            found[row.prediction_id].append(Mark(row.seq, row.label, row.who, row.at))
    return found


def _write_feedback(
    connection: Connection, items: Sequence[Feedback], now: int, oldest: int, tallies: _Tallies
) -> tuple[tuple[Outcome, ...], frozenset[tuple[str, str]]]:
    if not items:
        return (), frozenset()
    ids = {item.prediction_id for item in items}
    targets, marks = _targets(connection, ids), _marks(connection, ids)
    keys = {(one, mark.who, mark.at, mark.label) for one, found in marks.items() for mark in found}
    fresh: dict[str, list[Feedback]] = defaultdict(list)
    outcomes = []
    for item in items:
        if item.key in keys:
            outcomes.append(Outcome.DUPLICATE)
        elif item.prediction_id not in targets and micros(item.at) < oldest:
            outcomes.append(Outcome.EXPIRED)
        else:
            keys.add(item.key)
            fresh[item.prediction_id].append(item)
            outcomes.append(Outcome.STORED if item.prediction_id in targets else Outcome.WAITING)
    _insert_feedback(connection, [item for found in fresh.values() for item in found], now)
    _join(connection, targets, marks, fresh, tallies)
    strange = {
        (item.prediction_id, item.label)
        for item in items
        if (target := targets.get(item.prediction_id)) and item.label not in target.classes
    }
    return tuple(outcomes), frozenset(strange)


@dataclass(frozen=True, slots=True)
class _Target:
    """A prediction that labels are for."""

    seq: int
    series_id: int
    label: str
    classes: frozenset[str]


def _targets(connection: Connection, ids: Iterable[str]) -> dict[str, _Target]:
    statement = select(
        predictions.c.id, predictions.c.seq, predictions.c.series_id, predictions.c.label, series.c.classes
    ).join(series, series.c.id == predictions.c.series_id)
    return {
        row.id: _Target(row.seq, row.series_id, row.label, frozenset(json.loads(row.classes)))
        for part in _chunks(ids)
        for row in connection.execute(statement.where(predictions.c.id.in_(part)))
    }


def _insert_feedback(connection: Connection, items: Sequence[Feedback], now: int) -> None:
    rows = [
        {
            "prediction_id": item.prediction_id,
            "label": item.label,
            "who": item.who,
            "at": micros(item.at),
            "received": now,
            "note": item.note,
        }
        for item in items
    ]
    if rows:
        connection.execute(feedback.insert(), rows)


def _join(
    connection: Connection,
    targets: Mapping[str, _Target],
    marks: Mapping[str, Sequence[Mark]],
    fresh: Mapping[str, Sequence[Feedback]],
    tallies: _Tallies,
) -> None:
    """Bring the truth of predictions up to date with their new labels."""
    changed = []
    for one in sorted(targets.keys() & fresh.keys()):
        target, old = targets[one], marks.get(one, ())
        # Their numbers are given by the database in this order; until then any that follow the old ones will do.
        start = max((mark.seq for mark in old), default=0) + 1
        new = [Mark(start + n, item.label, item.who, micros(item.at)) for n, item in enumerate(fresh[one])]
        before, after = truth(old), truth([*old, *new])
        tallies.labelled(target.series_id, target.label, before, after)
        if before != after:
            changed.append({"b_seq": target.seq} | _truth_columns(after))
    if changed:
        statement = update(predictions).where(predictions.c.seq == bindparam("b_seq"))
        values: dict[str, Any] = {name: bindparam(name) for name in _truth_columns(Truth())}
        connection.execute(statement.values(values), changed)


def _write_images(connection: Connection, images: Sequence[ImageMark]) -> tuple[Outcome, ...]:
    if not images:
        return ()
    columns = predictions.c.id, predictions.c.image_digest
    known: dict[str, str | None] = {
        row.id: row.image_digest
        for part in _chunks({image.prediction_id for image in images})
        for row in connection.execute(select(*columns).where(predictions.c.id.in_(part)))
    }
    outcomes = []
    for image in images:
        if image.prediction_id not in known:
            outcomes.append(Outcome.MISSING)
        elif known[image.prediction_id] is None:
            where = predictions.c.id == image.prediction_id
            connection.execute(update(predictions).where(where).values(image_digest=image.digest))
            known[image.prediction_id] = image.digest
            outcomes.append(Outcome.STORED)
        else:
            same = known[image.prediction_id] == image.digest
            outcomes.append(Outcome.DUPLICATE if same else Outcome.CONFLICT)
    return tuple(outcomes)


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Parts that fit into one IN list."""
    source = iter(sorted(ids))
    while part := list(islice(source, _CHUNK)):
        yield part
