"""The `Store` port on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from puzzle_monitor.adapters.sql import decisions, feeds, judging, pruning, reads, states
from puzzle_monitor.adapters.sql import writes as writing
from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.core.feeds.digest import MINUTE
from puzzle_monitor.core.models import Retraction
from puzzle_monitor.core.stored import (
    DriftKey,
    DriftPoint,
    Filter,
    Gauges,
    NewDecision,
    Order,
    Position,
    Pruned,
    ScorePoint,
    StoredDecision,
    StoredDrift,
    StoredLabel,
    StoredModel,
    StoredPrediction,
    Totals,
    Window,
)
from puzzle_monitor.core.work import Outcome, Outcomes, Work


class SqlStore:
    """One transaction for each call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, work: Work, now: int, oldest: int) -> Outcomes:
        with self._database.writing() as connection:
            return writing.write(connection, work, now, oldest)

    def prediction(self, prediction_id: str) -> tuple[StoredPrediction, Sequence[StoredLabel]] | None:
        with self._database.reading() as connection:
            return reads.one(connection, prediction_id)

    def page(
        self, wanted: Filter, after: Position | None, limit: int, order: Order, *, embeddings: bool = False
    ) -> Sequence[StoredPrediction]:
        with self._database.reading() as connection:
            return reads.page(connection, wanted, after, limit, order, embeddings=embeddings)

    def stream(self, wanted: Filter, after: int, limit: int) -> Sequence[StoredPrediction]:
        with self._database.reading() as connection:
            return reads.stream(connection, wanted, after, limit)

    def retract(self, wanted: Retraction, now: int) -> tuple[Outcome, str | None]:
        with self._database.writing() as connection:
            return writing.retract(connection, wanted, now)

    def put_settings(self, namespace: str, name: str, settings: str, now: int, limit: int) -> bool:
        with self._database.writing() as connection:
            return states.put_settings(connection, namespace, name, settings, now, limit)

    def forget_settings(self, namespace: str, name: str) -> None:
        with self._database.writing() as connection:
            states.forget_settings(connection, namespace, name)

    def append_decisions(self, namespace: str, model: str, found: Sequence[NewDecision], now: int) -> int:
        with self._database.writing() as connection:
            return decisions.append(connection, namespace, model, found, now)

    def decisions(self, namespace: str, model: str, before: int | None, limit: int) -> Sequence[StoredDecision]:
        with self._database.reading() as connection:
            return decisions.read(connection, namespace, model, before, limit)

    def models(self, since: int) -> Sequence[StoredModel]:
        with self._database.reading() as connection:
            return states.stored_models(connection, None, None, since)

    def model(self, namespace: str, name: str, since: int) -> StoredModel | None:
        with self._database.reading() as connection:
            return next(iter(states.stored_models(connection, namespace, name, since)), None)

    def scores(self, namespace: str, model: str, line: str | None, since: int, bucket: int) -> Sequence[ScorePoint]:
        with self._database.reading() as connection:
            return states.score_points(connection, namespace, model, line, since, bucket)

    def drift(self, key: DriftKey) -> StoredDrift | None:
        with self._database.reading() as connection:
            return states.get_drift(connection, key)

    def put_drift(self, key: DriftKey, found: StoredDrift, point: DriftPoint) -> bool:
        with self._database.writing() as connection:
            return states.put_drift(connection, key, found, point)

    def drift_history(self, key: DriftKey, since: int, limit: int) -> Sequence[DriftPoint]:
        with self._database.reading() as connection:
            return states.read_history(connection, key, since, limit)

    def judge(self, now: int) -> None:
        until = now // MINUTE
        with self._database.reading() as connection:
            waiting = judging.due(connection, until)
        for number in waiting:
            with self._database.writing() as connection:
                judging.bring_up_to_date(connection, number, until)

    def forget_usual(self, namespace: str, model: str, line: str, now: int) -> bool:
        with self._database.writing() as connection:
            return judging.forget(connection, namespace, model, line, now // MINUTE)

    def gauges(self, since: int) -> Gauges:
        with self._database.reading() as connection:
            return Gauges(
                tuple(states.series_scores(connection, since)),
                tuple(states.watched_drift(connection)),
                tuple(feeds.stored_feeds(connection)),
            )

    def windows(self, wanted: Filter) -> Sequence[Window]:
        with self._database.reading() as connection:
            return reads.windows(connection, wanted)

    def totals(self) -> Sequence[Totals]:
        with self._database.reading() as connection:
            return reads.totals(connection)

    def old(self, cutoff: int, limit: int) -> Sequence[tuple[int, str, str | None]]:
        with self._database.reading() as connection:
            return pruning.old(connection, cutoff, limit)

    def count_old(self, cutoff: int, minutes_cutoff: int) -> Pruned:
        with self._database.reading() as connection:
            return pruning.count(connection, cutoff, minutes_cutoff)

    def delete(self, seqs: Sequence[int]) -> Pruned:
        with self._database.writing() as connection:
            return pruning.remove(connection, seqs)

    def delete_leftovers(self, cutoff: int, limit: int) -> Pruned:
        with self._database.writing() as connection:
            return pruning.remove_leftovers(connection, cutoff, limit)

    def delete_states(self, cutoff: int, minutes_cutoff: int, limit: int) -> Pruned:
        with self._database.writing() as connection:
            return pruning.remove_states(connection, cutoff, minutes_cutoff, limit)

    def ping(self) -> None:
        with self._database.reading() as connection:
            connection.execute(text("SELECT 1"))
