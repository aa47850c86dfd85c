"""The `Store` port on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from puzzle_monitor.adapters.sql import pruning, reads
from puzzle_monitor.adapters.sql import writes as writing
from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.core.stored import Filter, Pruned, StoredLabel, StoredPrediction, Totals, Window
from puzzle_monitor.core.work import Outcomes, Work


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
        self, wanted: Filter, after: tuple[int, int] | None, limit: int, *, newest_first: bool, embeddings: bool = False
    ) -> Sequence[StoredPrediction]:
        with self._database.reading() as connection:
            return reads.page(connection, wanted, after, limit, newest_first=newest_first, embeddings=embeddings)

    def windows(self, wanted: Filter) -> Sequence[Window]:
        with self._database.reading() as connection:
            return reads.windows(connection, wanted)

    def totals(self) -> Sequence[Totals]:
        with self._database.reading() as connection:
            return reads.totals(connection)

    def old(self, cutoff: int, limit: int) -> Sequence[tuple[int, str, str | None]]:
        with self._database.reading() as connection:
            return pruning.old(connection, cutoff, limit)

    def count_old(self, cutoff: int) -> Pruned:
        with self._database.reading() as connection:
            return pruning.count(connection, cutoff)

    def delete(self, seqs: Sequence[int]) -> Pruned:
        with self._database.writing() as connection:
            return pruning.remove(connection, seqs)

    def delete_leftovers(self, cutoff: int, limit: int) -> Pruned:
        with self._database.writing() as connection:
            return pruning.remove_leftovers(connection, cutoff, limit)

    def ping(self) -> None:
        with self._database.reading() as connection:
            connection.execute(text("SELECT 1"))
