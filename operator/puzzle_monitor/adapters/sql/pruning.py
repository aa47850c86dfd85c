"""Deleting what is old, a little at a time, so that nobody who writes waits for long. Counts stay."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, func, select

from puzzle_monitor.adapters.sql.tables import (
    drift,
    drift_history,
    feed_minutes,
    feedback,
    feeds,
    predictions,
    scores,
    series,
)
from puzzle_monitor.core.feeds.digest import MINUTE
from puzzle_monitor.core.stored import Pruned

_P, _F = predictions.c, feedback.c


def old(connection: Connection, cutoff: int, limit: int) -> Sequence[tuple[int, str, str | None]]:
    """Some predictions from before the cutoff: seq, id, digest of its image."""
    found: list[tuple[int, str, str | None]] = []
    for number in connection.execute(select(series.c.id)).scalars().all():
        columns = select(_P.seq, _P.id, _P.image_digest)
        statement = columns.where(_P.series_id == number, _P.at < cutoff).limit(limit - len(found))
        found += [(seq, one, digest) for seq, one, digest in connection.execute(statement)]
        if len(found) >= limit:
            break
    return found


def count(connection: Connection, cutoff: int, minutes_cutoff: int) -> Pruned:
    """How much would go."""
    rows = func.count()
    gone = select(rows, func.count(_P.image_digest)).where(_P.at < cutoff)
    there, images = connection.execute(gone).one()
    theirs = select(_P.id).where(_P.at < cutoff)
    labels = connection.execute(
        select(rows).select_from(feedback).where(_F.prediction_id.in_(theirs) | _orphan(cutoff))
    ).scalar_one()
    idle = connection.execute(select(rows).select_from(series).where(series.c.seen < cutoff)).scalar_one()
    return Pruned(there, labels, images, idle) + _count_states(connection, cutoff, minutes_cutoff)


def _count_states(connection: Connection, cutoff: int, minutes_cutoff: int) -> Pruned:
    def number(table: Table, where: ColumnElement[bool]) -> int:
        return connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()

    minutes = number(scores, scores.c.minute < cutoff // MINUTE)
    minutes += number(feed_minutes, feed_minutes.c.minute < minutes_cutoff // MINUTE)
    states = number(drift_history, drift_history.c.at < cutoff) + number(drift, drift.c.at < cutoff)
    return Pruned(minutes=minutes, drift=states, feeds=number(feeds, feeds.c.last_received < cutoff))


def remove(connection: Connection, seqs: Sequence[int]) -> Pruned:
    """Delete these predictions and their labels."""
    ids = select(_P.id).where(_P.seq.in_(seqs))
    images = connection.execute(select(func.count(_P.image_digest)).where(_P.seq.in_(seqs))).scalar_one()
    labels = connection.execute(delete(feedback).where(_F.prediction_id.in_(ids))).rowcount
    gone = connection.execute(delete(predictions).where(_P.seq.in_(seqs))).rowcount
    return Pruned(gone, labels, images)


def remove_leftovers(connection: Connection, cutoff: int, limit: int) -> Pruned:
    """Delete some labels whose prediction never came, and the series of which nothing is left."""
    waiting = select(_F.seq).where(_orphan(cutoff)).limit(limit)
    labels = connection.execute(delete(feedback).where(_F.seq.in_(waiting))).rowcount
    used = exists().where(_P.series_id == series.c.id)
    idle = connection.execute(delete(series).where(series.c.seen < cutoff, ~used)).rowcount
    return Pruned(feedback=labels, series=idle)


def remove_states(connection: Connection, cutoff: int, minutes_cutoff: int, limit: int) -> Pruned:
    """Delete some old minutes, old points of drift and states of versions that nobody watches any more."""
    minutes = 0
    for table, owner, owners, before in (
        (scores, scores.c.series_id, series.c.id, cutoff // MINUTE),
        (feed_minutes, feed_minutes.c.feed_id, feeds.c.id, minutes_cutoff // MINUTE),
    ):
        for number in connection.execute(select(owners)).scalars().all():
            mine = select(table.c.minute).where(owner == number, table.c.minute < before)
            last = connection.execute(mine.order_by(table.c.minute).offset(limit).limit(1)).scalar_one_or_none()
            gone = delete(table).where(owner == number, table.c.minute < (before if last is None else last))
            minutes += connection.execute(gone).rowcount
    points = select(drift_history.c.seq).where(drift_history.c.at < cutoff).limit(limit)
    old = connection.execute(delete(drift_history).where(drift_history.c.seq.in_(points))).rowcount
    old += connection.execute(delete(drift).where(drift.c.at < cutoff)).rowcount
    silent = connection.execute(delete(feeds).where(feeds.c.last_received < cutoff)).rowcount
    return Pruned(minutes=minutes, drift=old, feeds=silent)


def _orphan(cutoff: int) -> ColumnElement[bool]:
    return (_F.received < cutoff) & ~exists().where(_P.id == _F.prediction_id)
