"""Settings of the monitor: environment variables, read once at start and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from puzzle_common.settings import LogLevel, Port, Span, read_settings
from puzzle_monitor.core.records import MAX_FEEDBACK

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
    port: Port = 8090
    """Port to listen on."""
    retention: Span = timedelta(days=90)
    """How long predictions, labels and images are kept, such as 90d. Counts are kept for longer."""
    prune_every: Span = timedelta(hours=1)
    """How often that is seen to."""
    accuracy_window: Span = timedelta(hours=24)
    """Over which time the state of a model and the gauges tell accuracy."""
    rate: Annotated[int, Field(ge=1)] = 5_000
    """Items that one token may send in a second."""
    burst: Annotated[int, Field(ge=MAX_FEEDBACK)] = 20_000
    """Items that it may send at once, after a pause: one request at least."""
    log_level: LogLevel = "info"
    """How much is logged."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read PUZZLE_MONITOR_* variables; empty ones count as unset.

        Raises:
            ConfigurationError: naming the variable.
        """
        return read_settings(cls, PREFIX, environment)
