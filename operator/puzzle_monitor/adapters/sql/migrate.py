"""Bringing the database to the tables of this version; the steps are shipped in `migrations/`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text

from puzzle_common.settings import ConfigurationError
from puzzle_monitor.adapters.sql.engine import Database

_FOLDER = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def head() -> str:
    """The revision that this version needs."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise RuntimeError(f"no migrations in {_FOLDER}: the package is incomplete")
    return found


def current(database: Database) -> str | None:
    """The revision that the database has; None is an empty one. Raises Unavailable."""
    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the database up to date, in one transaction and with other monitors locked out.

    Returns:
        The revision before and after.

    Raises:
        ConfigurationError: if the database was made by a newer version.
        Unavailable: if it does not answer.
    """
    config = _config()
    with database.writing() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
        if before == head():
            return before, before
        config.attributes["connection"] = connection
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL statement_timeout = 0"))  # a large table takes its time
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"the database has revision {before}, which this version does not know: install the newer "
                "puzzle-monitor that made it, or name another database"
            ) from error
    return before, head()


def downgrade(database: Database, revision: str) -> None:
    """Go back to an older revision ("base" is empty). For developers; data of dropped columns is lost."""
    config = _config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
