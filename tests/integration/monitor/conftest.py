"""The same tests on both engines: SQLite in a file, PostgreSQL as a server, both real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.migrate import upgrade
from puzzle_monitor.adapters.sql.store import SqlStore
from tests.integration.monitor.live import Server
from tests.integration.monitor.postgres import Postgres

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests; each gets a database of its own."""
    with Postgres() as server:
        yield server


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/monitor.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with all tables."""
    found = Database(database_url)
    upgrade(found)
    yield found
    found.close()


@pytest.fixture
def store(database: Database) -> SqlStore:
    """The store on it."""
    return SqlStore(database)


@pytest.fixture(scope="session", params=ENGINES)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One monitor for all tests that leave it running; each test uses a model of its own."""
    folder = tmp_path_factory.mktemp("live")
    url = f"sqlite:///{folder}/monitor.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    found = Server(folder, url).start()
    yield found
    found.kill()


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A monitor for one test, to be killed and started again."""
    found = Server(tmp_path, database_url).start()
    yield found
    found.kill()
