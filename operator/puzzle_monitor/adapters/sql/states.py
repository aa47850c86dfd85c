"""Settings of models, states of drift, and histories, on an open connection."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, func, literal, select, text

from puzzle_monitor.adapters.sql.decisions import newest_ids
from puzzle_monitor.adapters.sql.feeds import stored_feeds
from puzzle_monitor.adapters.sql.tables import drift, drift_history, feeds, label_totals, models, scores, series
from puzzle_monitor.adapters.sql.tallies import put
from puzzle_monitor.core.decisions import MAX_DECISIONS
from puzzle_monitor.core.feeds.digest import MINUTE
from puzzle_monitor.core.models import MAX_HISTORY
from puzzle_monitor.core.stored import (
    DriftKey,
    DriftPoint,
    Labels,
    ScorePoint,
    Series,
    SeriesScore,
    StoredDrift,
    StoredModel,
)

_D, _H, _S = drift.c, drift_history.c, scores.c


def put_settings(connection: Connection, namespace: str, name: str, settings: str, now: int, limit: int) -> bool:
    """Store what is wanted of a model; False if there are too many models."""
    there = select(models.c.settings).where(models.c.namespace == namespace, models.c.name == name)
    found = connection.execute(there).scalar_one_or_none()
    if found is None and connection.execute(select(func.count()).select_from(models)).scalar_one() >= limit:
        return False
    if found != settings:
        put(connection, models, {"namespace": namespace, "name": name, "settings": settings, "changed": now})
    return True


def forget_settings(connection: Connection, namespace: str, name: str) -> None:
    """The model is not there any more."""
    connection.execute(delete(models).where(models.c.namespace == namespace, models.c.name == name))


def stored_models(connection: Connection, namespace: str | None, name: str | None, since: int) -> list[StoredModel]:
    """Models that there are settings for, with everything that their states are made from."""
    statement = select(models).order_by(models.c.namespace, models.c.name)
    if namespace is not None:
        statement = statement.where(models.c.namespace == namespace, models.c.name == name)
    return [_model(connection, row, since) for row in connection.execute(statement).all()]


def _model(connection: Connection, row: Row[Any], since: int) -> StoredModel:
    namespace, name = row.namespace, row.name
    reports = select(_D.version, _D.report).where(_D.namespace == namespace, _D.model == name)
    totals = select(label_totals.c.total, label_totals.c.images, label_totals.c.bytes)
    mine = label_totals.c.namespace == namespace, label_totals.c.model == name
    labels = connection.execute(totals.where(*mine)).one_or_none()
    return StoredModel(
        namespace,
        name,
        row.settings,
        {row.version: row.report for row in connection.execute(reports)},
        tuple(stored_feeds(connection, feeds.c.namespace == namespace, feeds.c.model == name)),
        tuple(score_points(connection, namespace, name, None, since, None)),
        Labels(*labels) if labels else Labels(),
        newest_ids(connection, namespace, name, MAX_DECISIONS),
    )


def score_points(
    connection: Connection, namespace: str, model: str, line: str | None, since: int, bucket: int | None
) -> list[ScorePoint]:
    """Accuracy by version, in buckets of so many minutes, or all of it as one."""
    begin = since // MINUTE
    start = literal(begin) if bucket is None else _S.minute - (_S.minute - begin) % bucket
    columns = func.sum(_S.predictions), func.sum(_S.labelled), func.sum(_S.wrong)
    where = [series.c.namespace == namespace, series.c.model == model, _S.minute >= begin]
    if line is not None:
        where.append(series.c.line == line)
    statement = select(series.c.version, start.label("start"), *columns)
    groups = [series.c.version] if bucket is None else [series.c.version, text("start")]
    rows = connection.execute(
        statement.join(series, series.c.id == _S.series_id).where(*where).group_by(*groups).order_by(*groups)
    )
    return [ScorePoint(version, int(at) * MINUTE, int(n), int(m), int(w)) for version, at, n, m, w in rows]


def series_scores(connection: Connection, since: int) -> list[SeriesScore]:
    """Labelled predictions of each series since then."""
    columns = func.sum(_S.labelled), func.sum(_S.wrong)
    statement = (
        select(*series.c, *columns).join(series, series.c.id == _S.series_id).where(_S.minute >= since // MINUTE)
    )
    found = []
    for row in connection.execute(statement.group_by(*series.c).order_by(series.c.id)):
        owner = Series(row.namespace, row.model, row.line, row.revision, row.version)
        found.append(SeriesScore(owner, int(row[-2]), int(row[-1])))
    return found


def get_drift(connection: Connection, key: DriftKey) -> StoredDrift | None:
    """What a worker stored of a version."""
    row = connection.execute(select(_D.report, _D.cursor, _D.state, _D.config).where(*_of(drift, key))).one_or_none()
    return StoredDrift(row.report, row.cursor, bytes(row.state), row.config) if row else None


def put_drift(connection: Connection, key: DriftKey, found: StoredDrift, point: DriftPoint) -> bool:
    """Store report, cursor and state, and a point of history; False if all of it is there already."""
    if get_drift(connection, key) == found:
        return False
    names = {"namespace": key.namespace, "model": key.model, "version": key.version}
    values = {"report": found.report, "cursor": found.cursor, "state": found.state, "config": found.config}
    put(connection, drift, names | values | {"at": point.at})
    numbers = {"images": point.images, "score": point.score, "threshold": point.threshold, "phase": point.phase}
    connection.execute(drift_history.insert().values(**names, at=point.at, **numbers))
    mine = select(_H.seq).where(*_of(drift_history, key)).order_by(_H.seq.desc())
    last = connection.execute(mine.offset(MAX_HISTORY).limit(1)).scalar_one_or_none()
    if last is not None:
        connection.execute(delete(drift_history).where(*_of(drift_history, key), _H.seq <= last))
    return True


def read_history(connection: Connection, key: DriftKey, since: int, limit: int) -> list[DriftPoint]:
    """The last points of a version, oldest first."""
    columns = _H.at, _H.images, _H.score, _H.threshold, _H.phase
    newest = select(*columns).where(*_of(drift_history, key), _H.at >= since).order_by(_H.seq.desc()).limit(limit)
    return [DriftPoint(*row) for row in reversed(connection.execute(newest).all())]


def watched_drift(connection: Connection) -> list[tuple[Series, str]]:
    """Reports of the versions that are watched now, with the newest series of each: where its records come from."""
    wanted = set()
    for namespace, name, text_ in connection.execute(select(models.c.namespace, models.c.name, models.c.settings)):
        settings = json.loads(text_)
        if settings["drift"] is not None:
            wanted |= {(namespace, name, settings[role]) for role in ("champion", "challenger")}
    newest: dict[tuple[str, str, str], Series] = {}
    for row in connection.execute(select(series).order_by(series.c.seen, series.c.id)):
        owner = Series(row.namespace, row.model, row.line, row.revision, row.version)
        newest[row.namespace, row.model, row.version] = owner
    found = []
    order = select(_D.namespace, _D.model, _D.version, _D.report).order_by(_D.namespace, _D.model, _D.version)
    for row in connection.execute(order):
        key = row.namespace, row.model, row.version
        if key in wanted:
            found.append((newest.get(key) or Series(*key[:2], "", "", key[2]), row.report))
    return found


def _of(table: Table, key: DriftKey) -> list[ColumnElement[bool]]:
    return [table.c.namespace == key.namespace, table.c.model == key.model, table.c.version == key.version]
