"""Connections: what makes each engine durable, and where its errors become ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from puzzle_common.settings import ConfigurationError
from puzzle_monitor.ports import Unavailable

WRITERS_LOCK = 0x70757A7A6C65  # "puzzle": the key of PostgreSQL's advisory lock
_FORBIDDEN = "42501"
"""PostgreSQL's code for a right that is missing."""
_BUSY_S = 30
_READERS = 8


def parse_url(address: str) -> URL:
    """The database's address.

    Raises:
        ConfigurationError: if it is neither a SQLite file nor PostgreSQL.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "the database is no address: write sqlite:////folder/monitor.db or postgresql://user:password@host/name"
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise ConfigurationError("a SQLite database must be a file, such as sqlite:////data/monitor.db")
        return url.set(drivername="sqlite+pysqlite")
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise ConfigurationError(f"{backend} is not supported: the database is sqlite:////… or postgresql://…")


class Database:
    """Two pools on one database: a single writing connection and a few reading ones."""

    def __init__(self, address: str) -> None:
        self.url = parse_url(address)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            folder = Path(str(self.url.database)).parent
            if not folder.is_dir():
                raise ConfigurationError(f"the folder {folder} of the SQLite database does not exist: make it")
            self._writer, self._reader = self._sqlite("BEGIN IMMEDIATE", 1), self._sqlite("BEGIN", _READERS)
        else:
            self._writer, self._reader = self._postgresql(1), self._postgresql(_READERS)

    def _sqlite(self, begin: str, size: int) -> Engine:
        engine = create_engine(self.url, pool_size=size, max_overflow=size, connect_args={"timeout": _BUSY_S})

        @event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _: Any) -> None:
            connection.isolation_level = None  # transactions begin where we say, below
            # FULL: what was acknowledged survives a power cut, not only a kill of the process (sqlite.org/pragma.html).
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864"):
                connection.execute(f"PRAGMA {pragma}").close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _postgresql(self, size: int) -> Engine:
        reading: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        return create_engine(
            self.url,
            execution_options={} if size == 1 else reading,
            pool_size=size,
            max_overflow=size,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={
                "application_name": "puzzle-monitor",
                "connect_timeout": 5,
                "tcp_user_timeout": 15_000,
                "options": "-c synchronous_commit=on -c statement_timeout=30000",
            },
        )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction with nobody else writing; durable when this returns."""
        with _translated(), self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITERS_LOCK})
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment's state."""
        with _translated(), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    """An outage as Unavailable; a statement that is wrong stays what it is, a bug."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise Unavailable(f"the database does not answer: {_reason(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(f"the database went away: {_reason(error)}") from error
        if getattr(error.orig, "sqlstate", None) == _FORBIDDEN:
            raise ConfigurationError(f"the database refuses: {_reason(error)}; give its user this right") from error
        if type(error) is DatabaseError:  # its subclasses are about statements; this is a file that is no database
            raise Unavailable(f"the database cannot be used: {_reason(error)}") from error
        raise


def _reason(error: Exception) -> str:
    """The driver's own words, on one line, without the statement and its values."""
    original = error.orig if isinstance(error, DBAPIError) else error
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    return " ".join(str(primary or original).split())[:200]
