"""Settings of the drift worker: environment variables, read once at start and frozen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from urllib.parse import urlsplit

from puzzle_drift.ports import ConfigurationError

PREFIX = "PUZZLE_DRIFT_"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SIZES = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the environment variable PUZZLE_DRIFT_<NAME>."""

    monitor_url: str = "http://puzzle-monitor:8090"
    """http://… or https://… of the monitor; for https, SSL_CERT_FILE may name your authority."""
    token_file: str = "/etc/puzzle-drift/token"  # noqa: S105 - a path
    """File with one bearer token of the role `drift`. Read again for every request."""
    memory: int = 0
    """Bytes that the worker may use, such as 512Mi; 0: the limit of its cgroup."""
    interval: timedelta = timedelta(seconds=10)
    """Pause between two looks at the monitor when there is nothing more to read."""
    label_wait: timedelta = timedelta(hours=24)
    """How long FETOnline, which looks at labels, waits for the label of an image before it goes past it."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known beforehand
    """Address of /metrics, /healthz and /readyz."""
    port: int = 8092
    """Their port."""
    log_level: str = "info"
    """debug, info, warning or error."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read PUZZLE_DRIFT_* variables; empty ones count as unset.

        Raises:
            ConfigurationError: naming the variable.
        """
        values: dict[str, object] = {}
        for item in fields(cls):
            name = variable(item.name)
            text = environment.get(name, "").strip()
            if text:
                values[item.name] = _value(name, text, item.name, item.default)
        settings = cls(**values)  # type: ignore[arg-type]
        _check(settings)
        return settings


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{name.upper()}"


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `12h` or `7d`. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found:
        raise ValueError(text)
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def parse_size(text: str) -> int:
    """`512Mi`, `2G` or bytes. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G|)", text)
    if not found:
        raise ValueError(text)
    return int(float(found[1]) * _SIZES[found[2]])


def _value(name: str, text: str, field: str, default: object) -> object:
    parse: Callable[[str], object] = str
    kind = ""
    if field == "memory":
        parse, kind = parse_size, "a number of bytes such as 512Mi"
    elif isinstance(default, timedelta):
        parse, kind = parse_duration, "a number and a unit, such as 10s or 24h"
    elif isinstance(default, int):
        parse, kind = int, "a whole number"
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is {text!r}: it must be {kind}") from error


def _check(settings: Settings) -> None:
    where = urlsplit(settings.monitor_url)
    if where.scheme not in {"http", "https"} or not where.netloc:
        raise ConfigurationError(f"PUZZLE_DRIFT_MONITOR_URL is {settings.monitor_url!r}: write http://… or https://…")
    if settings.log_level not in {"debug", "info", "warning", "error"}:
        raise ConfigurationError(f"PUZZLE_DRIFT_LOG_LEVEL is {settings.log_level!r}: debug, info, warning or error")
    if not 0 <= settings.port <= 65_535:
        raise ConfigurationError(f"PUZZLE_DRIFT_PORT is {settings.port}: a port is at most 65535")
    if settings.interval < timedelta(seconds=0.1):
        raise ConfigurationError("PUZZLE_DRIFT_INTERVAL must be at least 0.1s")
