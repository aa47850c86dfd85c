"""Judging feeds: what arrived by minute, into a health that is kept. The caller has the lock of writers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, func, select

from puzzle_monitor.adapters.sql.tables import feed_health, feed_minutes, feeds, models
from puzzle_monitor.adapters.sql.tallies import put
from puzzle_monitor.core.feeds.digest import parse as parse_digest
from puzzle_monitor.core.feeds.health import DAY, Health, Minute, judge, parse
from puzzle_monitor.core.models import DataQuality, ModelSettings

_F, _M, _H = feeds.c, feed_minutes.c, feed_health.c
_MINUTES = 300
"""Read at most; where nobody asked for longer, what lies before them is not judged any more."""


def due(connection: Connection, until: int) -> Sequence[int]:
    """Feeds with minutes before this one that are not judged yet."""
    new = exists().where(_M.feed_id == _F.id, _M.minute >= func.coalesce(_H.judged, 0), _M.minute < until)
    waiting = select(_F.id).outerjoin(feed_health, _H.feed_id == _F.id).where(new)
    return connection.execute(waiting.order_by(_F.id)).scalars().all()


def bring_up_to_date(connection: Connection, feed_id: int, until: int) -> None:
    """Judge the minutes of one feed before this one."""
    where = _M.feed_id == feed_id, _M.minute < until
    rows = connection.execute(
        select(_M.minute, _M.digest).where(*where).order_by(_M.minute.desc()).limit(_MINUTES)
    ).all()
    minutes = [Minute(row.minute, parse_digest(row.digest)) for row in reversed(rows)]
    there = connection.execute(select(_H.health).where(_H.feed_id == feed_id)).scalar_one_or_none()
    health = Health(0) if there is None else parse(there)
    judge(health, minutes, until, _wanted(connection, feed_id), _day(connection, feed_id, until))
    _save(connection, feed_id, health)


def _save(connection: Connection, feed_id: int, health: Health) -> None:
    put(connection, feed_health, {"feed_id": feed_id, "judged": health.judged, "health": health.text()})


def _wanted(connection: Connection, feed_id: int) -> DataQuality:
    """What the operator says of this line's pictures."""
    theirs = select(models.c.settings, _F.line).join(
        feeds, (_F.namespace == models.c.namespace) & (_F.model == models.c.name)
    )
    row = connection.execute(theirs.where(_F.id == feed_id)).one_or_none()
    if row is None:
        return DataQuality()
    settings = ModelSettings.model_validate_json(row.settings)
    return settings.data_quality if settings.line == row.line and settings.data_quality else DataQuality()


def _day(connection: Connection, feed_id: int, until: int) -> int | None:
    """Pictures of the last 24 hours; None where the feed is younger."""
    first = connection.execute(select(func.min(_M.minute)).where(_M.feed_id == feed_id)).scalar_one()
    if first is None or first > until - DAY:
        return None
    counted = select(func.sum(_M.n)).where(_M.feed_id == feed_id, _M.minute >= until - DAY)
    return int(connection.execute(counted).scalar_one() or 0)


def forget(connection: Connection, namespace: str, model: str, line: str, until: int) -> bool:
    """Learn anew what is usual, from this minute on; False if there is no such line."""
    where = _F.namespace == namespace, _F.model == model, _F.line == line
    feed_id = connection.execute(select(_F.id).where(*where)).scalar_one_or_none()
    if feed_id is None:
        return False
    connection.execute(delete(feed_minutes).where(_M.feed_id == feed_id))
    _save(connection, feed_id, Health(until))
    return True
