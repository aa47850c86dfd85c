"""Everything that is read, on an open connection.

Lists are read series by series and merged: each is in the order of an index then, so that a page costs the same in
the first week and after a year, and no planner can choose to sort the whole table.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from puzzle_monitor.adapters.sql.tables import confusion, feedback, histogram, predictions, series
from puzzle_monitor.core.accuracy import BOUNDS, Cell
from puzzle_monitor.core.stored import Filter, Order, Position, Series, StoredLabel, StoredPrediction, Totals, Window

_P = predictions.c
_UNSHOWN = {"embedding", "first_truth", "image_bytes"}
_COLUMNS = tuple(column for column in predictions.c if column.name not in _UNSHOWN)


def one(connection: Connection, prediction_id: str) -> tuple[StoredPrediction, Sequence[StoredLabel]] | None:
    """A prediction and its history of labels."""
    row = connection.execute(select(*_COLUMNS, _P.embedding).where(_P.id == prediction_id)).one_or_none()
    if row is None:
        return None
    owner = connection.execute(select(series).where(series.c.id == row.series_id)).one()
    columns = [column for column in feedback.c if column.name != "prediction_id"]
    labels = connection.execute(
        select(*columns).where(feedback.c.prediction_id == prediction_id).order_by(feedback.c.seq)
    )
    return _prediction(row, _series(owner)), [StoredLabel(**label._mapping) for label in labels]


def page(
    connection: Connection,
    wanted: Filter,
    after: Position | None,
    limit: int,
    order: Order,
    *,
    embeddings: bool,
) -> Sequence[StoredPrediction]:
    """The next `limit` predictions behind `after`."""
    found: list[StoredPrediction] = []
    columns = (*_COLUMNS, _P.embedding) if embeddings else _COLUMNS
    falling = order is Order.NEWEST
    sort: list[Any] = [_P[order.column], _P.seq]
    where = _conditions(wanted)
    if after is not None:
        where.append(_behind(_P[order.column], after, falling))
    for number, owner in _wanted_series(connection, wanted).items():
        statement = select(*columns).where(_P.series_id == number, *where)
        statement = statement.order_by(*(column.desc() if falling else column for column in sort)).limit(limit)
        found += [_prediction(row, owner) for row in connection.execute(statement)]
    found.sort(key=order.position, reverse=falling)
    return found[:limit]


def stream(connection: Connection, wanted: Filter, after: int, limit: int) -> Sequence[StoredPrediction]:
    """The next `limit` predictions in order of arrival, with embeddings."""
    found: list[StoredPrediction] = []
    for number, owner in _wanted_series(connection, wanted).items():
        statement = select(*_COLUMNS, _P.embedding).where(_P.series_id == number, _P.seq > after)
        found += [_prediction(row, owner) for row in connection.execute(statement.order_by(_P.seq).limit(limit))]
    return sorted(found, key=lambda item: item.seq)[:limit]


def windows(connection: Connection, wanted: Filter) -> Sequence[Window]:
    """Counts of each series: all predictions, and the labelled ones as a matrix."""
    answer = []
    where = _conditions(wanted)
    for number, owner in _wanted_series(connection, wanted).items():
        mine = [_P.series_id == number, *where]
        count = connection.execute(select(func.count()).select_from(predictions).where(*mine)).scalar_one()
        matrix = select(_P.label, _P.truth, func.count()).where(*mine, _P.truth.is_not(None))
        cells = connection.execute(matrix.group_by(_P.label, _P.truth).order_by(_P.label, _P.truth))
        answer.append(Window(owner, count, tuple(Cell(label, true, n) for label, true, n in cells)))
    return answer


def totals(connection: Connection) -> Sequence[Totals]:
    """What was ever counted."""
    owners = connection.execute(select(series).order_by(series.c.id)).all()
    predicted: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    buckets: defaultdict[int, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
    sums: defaultdict[int, float] = defaultdict(float)
    for row in connection.execute(select(histogram)):
        predicted[row.series_id][row.label] += row.n
        buckets[row.series_id][row.bucket] += row.n
        sums[row.series_id] += row.total
    cells: defaultdict[int, list[tuple[str, str, int, int]]] = defaultdict(list)
    for row in connection.execute(select(confusion).order_by(confusion.c.label, confusion.c.truth)):
        cells[row.series_id].append((row.label, row.truth, row.first, row.latest))
    return [
        Totals(
            _series(owner),
            frozenset(json.loads(owner.classes)),
            dict(sorted(predicted[owner.id].items())),
            tuple(buckets[owner.id]),
            sums[owner.id],
            tuple(Cell(label, true, first) for label, true, first, _ in cells[owner.id]),
            tuple(Cell(label, true, latest) for label, true, _, latest in cells[owner.id]),
        )
        for owner in owners
    ]


def _wanted_series(connection: Connection, wanted: Filter) -> dict[int, Series]:
    statement = select(series).order_by(series.c.id)
    for name, value in wanted.series().items():
        statement = statement.where(series.c[name] == value)
    if wanted.since is not None:
        statement = statement.where(series.c.seen >= wanted.since)
    return {row.id: _series(row) for row in connection.execute(statement)}


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    where = []
    if wanted.since is not None:
        where.append(_P.at >= wanted.since)
    if wanted.until is not None:
        where.append(_P.at < wanted.until)
    if wanted.labelled is not None:
        where.append(_P.truth.is_not(None) if wanted.labelled else _P.truth.is_(None))
    if wanted.has_image is not None:
        where.append(_P.image_digest.is_not(None) if wanted.has_image else _P.image_digest.is_(None))
    if wanted.since_seq is not None:
        where.append(_P.seq > wanted.since_seq)
    if wanted.max_confidence is not None:
        where.append(_P.confidence <= wanted.max_confidence)
    return where


def _behind(column: ColumnElement[Any], after: Position, falling: bool) -> ColumnElement[bool]:
    value, seq = after
    # The first condition is implied by the second; it is what lets the index begin in the right place.
    if falling:
        return and_(column <= value, or_(column < value, _P.seq < seq))
    return and_(column >= value, or_(column > value, _P.seq > seq))


def _series(row: Any) -> Series:
    return Series(row.namespace, row.model, row.line, row.revision, row.version)


def _prediction(row: Any, owner: Series) -> StoredPrediction:
    values = {key: value for key, value in row._mapping.items() if key != "series_id"}
    values |= {"probabilities": json.loads(row.probabilities), "image": json.loads(row.image), "series": owner}
    return StoredPrediction(**values)
