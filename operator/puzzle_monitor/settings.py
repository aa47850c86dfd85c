"""Settings of the monitor: environment variables, read once at start and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta

from puzzle_monitor.core.records import MAX_FEEDBACK
from puzzle_monitor.core.times import parse_duration
from puzzle_monitor.ports import ConfigurationError

PREFIX = "PUZZLE_MONITOR_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the environment variable PUZZLE_MONITOR_<NAME>."""

    database: str = "sqlite:////var/lib/puzzle-monitor/monitor.db"
    """sqlite:////folder/file.db, or postgresql://user:password@host/name."""
    images: str = "/var/lib/puzzle-monitor/images"
    """A folder, or s3://bucket/prefix."""
    s3_endpoint: str = ""
    """http://… or https://… of the S3 store; its keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
    tokens: str = "/etc/puzzle-monitor/tokens"
    """File with lines of NAME ROLES TOKEN; roles: ingest, feedback, read, operator, drift. Read again when changed."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known beforehand
    """Address to listen on."""
    port: int = 8090
    """Port to listen on."""
    retention: timedelta = timedelta(days=90)
    """How long predictions, labels and images are kept, such as 90d. Counts are kept for longer."""
    prune_every: timedelta = timedelta(hours=1)
    """How often that is seen to."""
    accuracy_window: timedelta = timedelta(hours=24)
    """Over which time the state of a model and the gauges tell accuracy."""
    rate: int = 5_000
    """Items that one token may send in a second."""
    burst: int = 20_000
    """Items that it may send at once, after a pause."""
    log_level: str = "info"
    """debug, info, warning or error."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read PUZZLE_MONITOR_* variables; empty ones count as unset.

        Raises:
            ConfigurationError: naming the variable.
        """
        values: dict[str, object] = {}
        for item in fields(cls):
            name = variable(item.name)
            text = environment.get(name, "").strip()
            if text:
                values[item.name] = _value(name, text, item.default)
        settings = cls(**values)  # type: ignore[arg-type]
        _check(settings)
        return settings


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{name.upper()}"


def _check(settings: Settings) -> None:
    if settings.log_level not in {"debug", "info", "warning", "error"}:
        raise ConfigurationError(f"PUZZLE_MONITOR_LOG_LEVEL is {settings.log_level!r}: debug, info, warning or error")
    if not 0 <= settings.port <= 65_535:
        raise ConfigurationError(f"PUZZLE_MONITOR_PORT is {settings.port}: a port is at most 65535")
    if settings.rate < 1:
        raise ConfigurationError(f"PUZZLE_MONITOR_RATE is {settings.rate}: it must be at least 1")
    if settings.burst < MAX_FEEDBACK:
        raise ConfigurationError(
            f"PUZZLE_MONITOR_BURST is {settings.burst}: it must be at least {MAX_FEEDBACK}, the size of one request"
        )


def _value(name: str, text: str, default: object) -> object:
    try:
        if isinstance(default, timedelta):
            return parse_duration(text)
        return int(text) if isinstance(default, int) else text
    except ValueError as error:
        kind = "a number and a unit, such as 15m or 90d" if isinstance(default, timedelta) else "a whole number"
        raise ConfigurationError(f"{name} is {text!r}: it must be {kind}") from error
