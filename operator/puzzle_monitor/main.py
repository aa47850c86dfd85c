"""The `puzzle-monitor` command: reads settings, connects the parts, serves. Wiring only."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import prometheus_client
import typer
import uvicorn
from fastapi import FastAPI

from puzzle_common.durations import parse_duration
from puzzle_common.settings import ConfigurationError, list_settings
from puzzle_monitor.adapters.images import open_images
from puzzle_monitor.adapters.sql import migrate as migrations
from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.store import SqlStore
from puzzle_monitor.core.stored import Filter
from puzzle_monitor.core.times import micros
from puzzle_monitor.http.app import create_app
from puzzle_monitor.ports import ImageStore, Unavailable
from puzzle_monitor.service.access import Access
from puzzle_monitor.service.monitor import Monitor
from puzzle_monitor.service.retention import Retention
from puzzle_monitor.service.telemetry import Telemetry
from puzzle_monitor.settings import PREFIX, Settings

log = logging.getLogger("puzzle_monitor")
cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Stores what PuzzleNet predicted and what people found to be true, and counts how often the two agree.\n\n"
    "Settings are environment variables PUZZLE_MONITOR_*: `puzzle-monitor settings` lists them.\n\n"
    "Exit codes: 0 done; 1 the database or the image store does not answer; 2 a setting is wrong, named in one line.",
)
_DURATION = "Such as 90d or 12h."


def utc_now() -> datetime:
    """The wall clock: the only one there is, handed to everything else."""
    return datetime.now(UTC)


def build(settings: Settings, database: Database) -> FastAPI:
    """The application over real adapters. Raises ConfigurationError."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    telemetry, store, images = Telemetry(), SqlStore(database), _images(settings)
    access = Access(Path(settings.tokens), settings.rate, settings.burst, time.monotonic)
    window = settings.accuracy_window
    monitor = Monitor(store, images, telemetry, settings.retention, utc_now, accuracy_window=window)
    retention = Retention(store, images, settings.retention, utc_now, telemetry)
    return create_app(monitor, access, retention, settings.prune_every.total_seconds(), version("puzzlemodel"))


def _images(settings: Settings) -> ImageStore:
    return open_images(settings.images, settings.s3_endpoint, os.environ)


@contextmanager
def _said() -> Iterator[Settings]:
    """The settings; and what goes wrong as one line and an exit code."""
    try:
        settings = Settings.from_environment(os.environ)
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
        )
        logging.getLogger("alembic").setLevel(logging.WARNING)
        yield settings
    except ConfigurationError as error:
        print(f"puzzle-monitor: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    except Unavailable as outage:
        print(f"puzzle-monitor: {outage}", file=sys.stderr)
        raise typer.Exit(1) from outage


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _current_database(settings: Settings) -> Iterator[Database]:
    """The database, if it has the tables of this version."""
    with _database(settings) as database:
        found = migrations.current(database)
        if found != migrations.head():
            raise ConfigurationError(
                f"the database has revision {found or 'none'}, this version needs {migrations.head()}: "
                "run `puzzle-monitor migrate`"
            )
        yield database


@cli.command()
def serve(
    migrate_first: Annotated[
        bool, typer.Option("--migrate/--no-migrate", help="Bring the database up to date before serving.")
    ] = True,
) -> None:
    """Serve the API until SIGTERM; what was accepted by then is written first."""
    with _said() as settings:
        with _database(settings) as database:
            if migrate_first:
                migrations.upgrade(database)
        with _current_database(settings) as database:
            app = build(settings, database)
            # uvicorn drains, then raises the signal again, which by default ends the process before it has tidied up.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: sys.exit(0))
            log.info("serving on %s:%d; database %s", settings.host, settings.port, _shown(database))
            uvicorn.run(
                app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http="httptools",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=256,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=20,
            )


@cli.command()
def migrate() -> None:
    """Bring the database to the tables of this version."""
    with _said() as settings, _database(settings) as database:
        before, after = migrations.upgrade(database)
        print(f"{_shown(database)}: {after}" + (" already" if before == after else f", was {before or 'empty'}"))


@cli.command()
def prune(
    older_than: Annotated[str, typer.Option(help=f"{_DURATION} Default: PUZZLE_MONITOR_RETENTION.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Delete old predictions with their labels and pictures. A monitor may be serving meanwhile; counts stay."""
    with _said() as settings:
        keep = _option("--older-than", older_than) if older_than else settings.retention
        with _current_database(settings) as database:
            retention = Retention(SqlStore(database), _images(settings), keep, utc_now)
            gone = retention.preview() if dry_run else retention.prune()
        print(
            f"{'would delete' if dry_run else 'deleted'} {gone.predictions} predictions, {gone.feedback} labels, "
            f"{gone.images} images, {gone.minutes} minutes of accuracy and input health, {gone.series} revisions that "
            "nothing is left of"
        )


@cli.command()
def export(
    model: Annotated[str, typer.Option(help="Only this model.")] = "",
    line: Annotated[str, typer.Option(help="Only this line.")] = "",
    last: Annotated[str, typer.Option(help=f"Only predictions of this time up to now. {_DURATION}")] = "",
    embeddings: Annotated[bool, typer.Option(help="With embeddings.")] = False,
) -> None:
    """Write labelled predictions to standard output, a line of JSON each, oldest first."""
    with _said() as settings:
        span: timedelta | None = _option("--last", last) if last else None
        wanted = Filter(model=model or None, line=line or None)
        with _current_database(settings) as database:
            monitor = Monitor(SqlStore(database), _images(settings), Telemetry(), settings.retention, utc_now)
            since = micros(utc_now() - span) if span else None
            for lines in monitor.export(wanted.between(since, None), embeddings):
                sys.stdout.buffer.write(lines)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    print(json.dumps(document(), indent=2, ensure_ascii=False))


@cli.command(name="settings")
def show_settings() -> None:
    """Show the environment variables, and what each is set to."""
    with _said() as settings:
        print(list_settings(settings, PREFIX, os.environ))


def document() -> dict[str, Any]:
    """The OpenAPI document, of an application over a database that is never opened."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder, "tokens")
        tokens.write_text(f"nobody read {secrets.token_hex(16)}\n")
        settings = Settings(database=f"sqlite:///{folder}/none.db", images=f"{folder}/images", tokens=str(tokens))
        return build(settings, Database(settings.database)).openapi()


def _shown(database: Database) -> str:
    return database.url.render_as_string(hide_password=True)


def _option(name: str, text: str) -> timedelta:
    try:
        return parse_duration(text, positive=True)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from error


def main() -> None:
    """Entry point of the package."""
    cli()


if __name__ == "__main__":
    main()
