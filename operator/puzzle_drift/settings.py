"""Settings of the drift worker: environment variables, read once at start and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

from puzzle_common.settings import Bytes, HttpUrl, LogLevel, Port, Span, read_settings

PREFIX = "PUZZLE_DRIFT_"


def _no_busy_loop(pause: timedelta) -> timedelta:
    if pause < timedelta(seconds=0.1):
        raise ValueError("it must be at least 0.1s")
    return pause


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the environment variable PUZZLE_DRIFT_<NAME>."""

    monitor_url: HttpUrl = "http://puzzle-monitor:8090"
    """http://… or https://… of the monitor; for https, SSL_CERT_FILE may name your authority."""
    token_file: str = "/etc/puzzle-drift/token"  # noqa: S105 - a path
    """File with one bearer token of the role `drift`. Read again for every request."""
    memory: Bytes = 0
    """Bytes that the worker may use, such as 512Mi; 0: the limit of its cgroup."""
    interval: Annotated[Span, AfterValidator(_no_busy_loop)] = timedelta(seconds=10)
    """Pause between two looks at the monitor when there is nothing more to read."""
    label_wait: Span = timedelta(hours=24)
    """How long FETOnline, which looks at labels, waits for the label of an image before it goes past it."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known beforehand
    """Address of /metrics, /healthz and /readyz."""
    port: Port = 8092
    """Their port."""
    log_level: LogLevel = "info"
    """How much is logged."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read PUZZLE_DRIFT_* variables; empty ones count as unset.

        Raises:
            ConfigurationError: naming the variable.
        """
        return read_settings(cls, PREFIX, environment)
