"""The `puzzle-drift` command: reads settings, connects the parts, polls. Wiring only."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer

from puzzle_common.settings import ConfigurationError, list_settings, without_passwords
from puzzle_drift.adapters import memory
from puzzle_drift.adapters.monitor import HttpMonitor
from puzzle_drift.adapters.registry import S3Registry
from puzzle_drift.core.detector import Backend
from puzzle_drift.core.mmd import Builtin
from puzzle_drift.ports import Unavailable
from puzzle_drift.service.endpoint import Pulse, serve
from puzzle_drift.service.telemetry import Telemetry
from puzzle_drift.service.worker import Worker
from puzzle_drift.settings import PREFIX, Settings

log = logging.getLogger("puzzle_drift")
cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Watches whether what PuzzleNet sees still looks like what it learnt.\n\n"
    "Reads predictions from the monitor, holds the embeddings of each champion and challenger against the reference "
    "in the registry, and reports to the monitor: a score, its threshold, and whether drift is Suspected or Confirmed "
    "and does harm. It keeps nothing on disk: killed at any moment, the next one goes on at the same point.\n\n"
    "Settings are environment variables PUZZLE_DRIFT_*: `puzzle-drift settings` lists them. The keys of the registry "
    "are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; which detector watches a model is in the model's spec.drift.\n\n"
    "Exit codes: 0 done; 1 the monitor does not answer (`once`); 2 a setting is wrong, named in one line.",
)


def utc_now() -> datetime:
    """The wall clock: only the age of images whose labels are waited for depends on it."""
    return datetime.now(UTC)


def alibi() -> Backend:
    """The detectors of alibi-detect. Raises Refused if it is not installed."""
    from puzzle_drift.adapters.alibi import backend

    return backend()


@contextmanager
def _connected(stop: threading.Event) -> Iterator[tuple[Settings, Worker]]:
    """The worker over real adapters; and what goes wrong as one line and an exit code."""
    try:
        settings = Settings.from_environment(os.environ)
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
        )
        logging.getLogger("httpx").setLevel(logging.WARNING)
        most = settings.memory or memory.limit()
        monitor, registry = HttpMonitor(settings.monitor_url, Path(settings.token_file)), S3Registry(os.environ)
        try:
            yield (
                settings,
                Worker(
                    monitor=monitor,
                    registry=registry,
                    backends={"builtin": Builtin, "alibi-detect": alibi},
                    free_memory=lambda: memory.free(most),
                    telemetry=Telemetry(most),
                    now=utc_now,
                    label_wait=settings.label_wait,
                    stopped=stop.is_set,
                ),
            )
        finally:
            monitor.close()
    except ConfigurationError as error:
        print(f"puzzle-drift: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    except Unavailable as outage:
        print(f"puzzle-drift: {outage}", file=sys.stderr)
        raise typer.Exit(1) from outage


@cli.command()
def run() -> None:
    """Watch until SIGTERM; what was read by then is saved first. Serves /metrics, /healthz and /readyz."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _connected(stop) as (settings, worker):
        pulse = Pulse()
        try:
            server = serve(settings.host, settings.port, worker.telemetry, pulse)
        except OSError as error:
            raise ConfigurationError(f"PUZZLE_DRIFT_PORT {settings.port}: {error.strerror}") from error
        address = without_passwords(settings.monitor_url)
        log.info("watching through %s; metrics on %s:%d", address, settings.host, settings.port)
        while not stop.is_set():
            more = False
            try:
                more = worker.cycle()
                pulse.beat(ready=True)
            except Unavailable as outage:
                log.warning("%s", outage)
                worker.telemetry.failed("monitor")
                pulse.beat()
            if not more:
                stop.wait(settings.interval.total_seconds())
        server.shutdown()


@cli.command()
def once() -> None:
    """Read everything that there is, save, and end: for a CronJob, or to try it out."""
    with _connected(threading.Event()) as (_, worker):
        while worker.cycle():
            pass


@cli.command(name="settings")
def show_settings() -> None:
    """Show the environment variables, and what each is set to."""
    try:
        settings = Settings.from_environment(os.environ)
    except ConfigurationError as error:
        print(f"puzzle-drift: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    print(list_settings(settings, PREFIX, os.environ))


def main() -> None:
    """Entry point of the package."""
    cli()


if __name__ == "__main__":
    main()
