"""Input health's tables: what arrives is summed up in the transaction that stores it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from puzzle_monitor.adapters.sql.tables import feed_health, feed_minutes, feeds
from puzzle_monitor.adapters.sql.tallies import put
from puzzle_monitor.core.feeds.digest import LATENESS_BOUNDS, MINUTE, Digest, bucket, lateness, parse
from puzzle_monitor.core.records import Record
from puzzle_monitor.core.stored import Feed
from puzzle_monitor.core.times import micros

_F, _M = feeds.c, feed_minutes.c
# Building a statement costs more than carrying it out: these are built once.
_FIND = select(feeds).where(
    _F.namespace == bindparam("namespace"), _F.model == bindparam("model"), _F.line == bindparam("line")
)
_CHANGED = "images", "last_received", "last_at", "lateness", "lateness_sum"
_CHANGE = update(feeds).where(_F.id == bindparam("feed")).values({name: bindparam(name) for name in _CHANGED})
_MINUTE = select(_M.digest).where(_M.feed_id == bindparam("feed"), _M.minute == bindparam("now"))
_NONE = (0,) * (len(LATENESS_BOUNDS) + 1)


def write(connection: Connection, records: Iterable[Record], now: int) -> None:
    """Count pictures that were just stored."""
    by_feed: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        by_feed[record.namespace, record.model, record.line].append(record)
    for key, mine in sorted(by_feed.items()):
        digest, late = Digest(), [lateness(record, now) for record in mine]
        for record, seconds in zip(mine, late, strict=True):
            digest.add(record.image, seconds)
        _minute(connection, _feed(connection, key, mine, late, now), digest, now // MINUTE)


def _feed(
    connection: Connection, key: tuple[str, str, str], mine: Sequence[Record], late: Sequence[float], now: int
) -> int:
    """Bring the row of a feed up to date; its number."""
    names = dict(zip(("namespace", "model", "line"), key, strict=True))
    row = connection.execute(_FIND, names).one_or_none()
    there = None if row is None else feed(row._mapping)
    counts = list(there.lateness if there else _NONE)
    for seconds in late:
        counts[bucket(seconds)] += 1
    values: dict[str, Any] = {
        "images": len(mine) + (there.images if there else 0),
        "last_received": max(now, there.last_received if there else 0),
        "last_at": max([micros(record.at) for record in mine] + [there.last_at if there else 0]),
        "lateness": json.dumps(counts, separators=(",", ":")),
        "lateness_sum": sum(late) + (there.lateness_sum if there else 0.0),
    }
    if there is not None:
        connection.execute(_CHANGE, values | {"feed": there.id})
        return there.id
    new = feeds.insert().values(**names, first_received=now, **values).returning(_F.id)
    return int(connection.execute(new).scalar_one())


def _minute(connection: Connection, feed_id: int, digest: Digest, minute: int) -> None:
    there = connection.execute(_MINUTE, {"feed": feed_id, "now": minute}).scalar_one_or_none()
    if there is not None:
        digest.merge(parse(there))
    put(connection, feed_minutes, {"feed_id": feed_id, "minute": minute, "n": digest.n, "digest": digest.text()})


def feed(row: Mapping[Any, Any]) -> Feed:
    """A row of the table."""
    return Feed(**{**row, "lateness": tuple(json.loads(row["lateness"])) or _NONE})


def stored_feeds(connection: Connection, *where: ColumnElement[bool]) -> list[Feed]:
    """Feeds with their health."""
    columns = select(feeds, feed_health.c.health).outerjoin(feed_health, feed_health.c.feed_id == _F.id)
    order = columns.where(*where).order_by(_F.namespace, _F.model, _F.line)
    return [feed(row._mapping) for row in connection.execute(order)]
