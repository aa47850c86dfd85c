"""One write transaction: predictions, then labels, then pictures. The caller has seen to it that nobody else writes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from puzzle_monitor.adapters.sql import feeds
from puzzle_monitor.adapters.sql.tables import feedback, predictions, series
from puzzle_monitor.adapters.sql.tallies import Piece, Tallies
from puzzle_monitor.core.joining import Mark, Truth, truth
from puzzle_monitor.core.models import Retraction
from puzzle_monitor.core.records import Feedback, Record, pack
from puzzle_monitor.core.stored import Series
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import ImageMark, Outcome, Outcomes, Work

_CHUNK = 1_000


def write(connection: Connection, work: Work, now: int, oldest: int) -> Outcomes:
    """Store all of it, on an open transaction."""
    tallies = Tallies()
    records = _write_records(connection, work.records, now, oldest, tallies)
    labels, strange = _write_feedback(connection, work.feedback, now, oldest, tallies)
    images = _write_images(connection, work.images, tallies)
    tallies.flush(connection)
    return Outcomes(records, labels, images, strange)


def _write_records(
    connection: Connection, records: Sequence[Record], now: int, oldest: int, tallies: Tallies
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


def _insert(connection: Connection, records: Sequence[Record], now: int, tallies: Tallies) -> None:
    ids = _series_ids(connection, records)
    feeds.write(connection, records, now)
    marks = _marks(connection, [record.id for record in records])
    rows = []
    for record in records:
        series_id = ids[Series.of(record)]
        true, at = truth(marks.get(record.id, ())), micros(record.at)
        tallies.predicted(series_id, at, record.label, record.confidence)
        tallies.labelled(Piece(0, series_id, at, record.label), Truth(), true)
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
    columns = [feedback.c[name] for name in ("prediction_id", "seq", "label", "who", "at", "retracted")]
    for part in _chunks(ids):
        for row in connection.execute(select(*columns).where(feedback.c.prediction_id.in_(part))):
            found[row.prediction_id].append(Mark(row.seq, row.label, row.who, row.at, row.retracted is not None))
    return found


def _write_feedback(
    connection: Connection, items: Sequence[Feedback], now: int, oldest: int, tallies: Tallies
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


def _targets(connection: Connection, ids: Iterable[str]) -> dict[str, Piece]:
    names = "id", "seq", "series_id", "at", "label", "image_digest", "image_bytes"
    statement = select(*(predictions.c[name] for name in names), series.c.classes)
    statement = statement.join(series, series.c.id == predictions.c.series_id)
    return {
        row.id: Piece(
            row.seq,
            row.series_id,
            row.at,
            row.label,
            frozenset(json.loads(row.classes)),
            row.image_digest is not None,
            row.image_bytes or 0,
        )
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
    targets: Mapping[str, Piece],
    marks: Mapping[str, Sequence[Mark]],
    fresh: Mapping[str, Sequence[Feedback]],
    tallies: Tallies,
) -> None:
    """Bring the truth of predictions up to date with their new labels."""
    changed = []
    for one in sorted(targets.keys() & fresh.keys()):
        target, old = targets[one], marks.get(one, ())
        # Their numbers are given by the database in this order; until then any that follow the old ones will do.
        start = max((mark.seq for mark in old), default=0) + 1
        new = [Mark(start + n, item.label, item.who, micros(item.at)) for n, item in enumerate(fresh[one])]
        before, after = truth(old), truth([*old, *new])
        tallies.labelled(target, before, after)
        if before != after:
            changed.append({"b_seq": target.seq} | _truth_columns(after))
    _set_truths(connection, changed)


def _set_truths(connection: Connection, changed: Sequence[Mapping[str, Any]]) -> None:
    if changed:
        statement = update(predictions).where(predictions.c.seq == bindparam("b_seq"))
        values: dict[str, Any] = {name: bindparam(name) for name in _truth_columns(Truth())}
        connection.execute(statement.values(values), list(changed))


def retract(connection: Connection, wanted: Retraction, now: int) -> tuple[Outcome, str | None]:
    """Take back a label, and what is true then. The history keeps it; counters by first label do not fall."""
    marks = _marks(connection, [wanted.prediction_id]).get(wanted.prediction_id, [])
    given = [mark for mark in marks if (mark.who, mark.at) == (wanted.who, micros(wanted.at))]
    given = [mark for mark in given if wanted.label in {None, mark.label}]
    before = truth(marks)
    if not given:
        return Outcome.MISSING, before.label
    if all(mark.retracted for mark in given):
        return Outcome.DUPLICATE, before.label
    seqs = {mark.seq for mark in given if not mark.retracted}
    connection.execute(update(feedback).where(feedback.c.seq.in_(seqs)).values(retracted=now))
    after = truth(replace(mark, retracted=mark.retracted or mark.seq in seqs) for mark in marks)
    piece = _targets(connection, [wanted.prediction_id]).get(wanted.prediction_id)
    if piece is not None:
        tallies = Tallies()
        tallies.labelled(piece, before, after)
        tallies.flush(connection)
        _set_truths(connection, [{"b_seq": piece.seq} | _truth_columns(after)])
    return Outcome.STORED, after.label


def _write_images(connection: Connection, images: Sequence[ImageMark], tallies: Tallies) -> tuple[Outcome, ...]:
    if not images:
        return ()
    columns = [predictions.c[name] for name in ("id", "series_id", "image_digest", "first_truth")]
    rows = {
        row.id: row
        for part in _chunks({image.prediction_id for image in images})
        for row in connection.execute(select(*columns).where(predictions.c.id.in_(part)))
    }
    known: dict[str, str | None] = {one: row.image_digest for one, row in rows.items()}
    outcomes = []
    for image in images:
        if image.prediction_id not in known:
            outcomes.append(Outcome.MISSING)
        elif known[image.prediction_id] is None:
            where = predictions.c.id == image.prediction_id
            values = {"image_digest": image.digest, "image_bytes": image.size}
            connection.execute(update(predictions).where(where).values(**values))
            if rows[image.prediction_id].first_truth is not None:
                tallies.pictured(rows[image.prediction_id].series_id, image.size)
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
