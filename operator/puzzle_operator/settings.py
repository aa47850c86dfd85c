"""Settings of the operator: environment variables, read once at start and frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from puzzle_operator.api.base import parse_duration


class SettingsError(ValueError):
    """An environment variable makes no sense; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Intervals in seconds. Each field is the environment variable PUZZLE_<NAME>."""

    prometheus_url: str = "http://prometheus.monitoring:9090"
    """Where request metrics are read."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces of models, separated by commas; empty: all."""
    operator_class: str = ""
    """Acts only on models whose annotation puzzlenet.dev/operator-class says this; empty: on those without one."""
    log_level: str = "info"
    """debug, info, warning or error."""
    metrics_port: int = 9100
    """Port of the operator's own Prometheus metrics; 0: none."""
    probe_port: int = 8080
    """Port of the liveness probe /healthz; 0: none."""
    moving_interval: float = 1.0
    """Between passes while KServe moves something."""
    blocked_interval: float = 15.0
    """Between passes while something is missing."""
    resting_interval: float = 60.0
    """Between passes while nothing goes on."""
    api_timeout: float = 10.0
    """For one call of the Kubernetes API."""
    prometheus_timeout: float = 5.0
    """For one query."""
    prometheus_window: float = 2.0
    """For which one answer of Prometheus serves all models."""
    prometheus_stale_after: float = 60.0
    """After which a scrape counts as an outage."""
    queue_proxy_job: str = ".*queue-proxy.*"
    """Regular expression of the scrape jobs that read queue-proxy."""
    monitor_url: str = ""
    """Address of the monitor, from here and from the predictors; empty: there is none."""
    monitor_token_file: str = ""
    """File with the operator's token for it (role operator)."""
    monitor_secret: str = "puzzle-monitor-ingest"  # noqa: S105 - the name of a Secret
    """Secret in a model's namespace with the predictors' token, under the key token."""
    monitor_timeout: float = 5.0
    """For one request to the monitor; a pass waits half a second at most."""
    trainer_image: str = ""
    """Image of the Jobs that retrain; empty: nothing is retrained."""
    trainer_pull_policy: str = "IfNotPresent"
    """When nodes fetch that image: Always, IfNotPresent or Never."""
    trainer_command: str = ""
    """JSON list of words that replaces the image's entry point, for tests; empty: the image's own."""
    signing_secret: str = ""
    """Secret in a model's namespace with the keys sign.key and verify.pub, for trainers; empty: none."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read PUZZLE_* variables; empty ones count as unset.

        Raises:
            SettingsError: naming the variable.
        """
        values: dict[str, object] = {}
        for item in fields(cls):
            name = f"PUZZLE_{item.name.upper()}"
            text = environment.get(name, "").strip()
            if text:
                values[item.name] = _value(name, text, item.default)
        settings = cls(**values)  # type: ignore[arg-type]
        if settings.log_level not in {"debug", "info", "warning", "error"}:
            raise SettingsError(f"PUZZLE_LOG_LEVEL is {settings.log_level!r}: debug, info, warning or error")
        if not settings.prometheus_url.startswith(("http://", "https://")):
            raise SettingsError(f"PUZZLE_PROMETHEUS_URL is {settings.prometheus_url!r}: http://… or https://…")
        if settings.monitor_url and not settings.monitor_url.startswith(("http://", "https://")):
            raise SettingsError(f"PUZZLE_MONITOR_URL is {settings.monitor_url!r}: http://… or https://…")
        if settings.trainer_pull_policy not in {"Always", "IfNotPresent", "Never"}:
            raise SettingsError(
                f"PUZZLE_TRAINER_PULL_POLICY is {settings.trainer_pull_policy!r}: Always, IfNotPresent or Never"
            )
        settings.trainer_words()
        return settings

    def trainer_words(self) -> tuple[str, ...]:
        """The trainer's command.

        Raises:
            SettingsError: if it is no list of words.
        """
        try:
            words = json.loads(self.trainer_command or "[]")
        except ValueError:
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise SettingsError('PUZZLE_TRAINER_COMMAND must be a JSON list of words, such as ["python3", "train.py"]')
        return tuple(words)


def _value(name: str, text: str, default: object) -> object:
    try:
        if isinstance(default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if isinstance(default, float):
            seconds = parse_duration(text).total_seconds() if text[-1].isalpha() else float(text)
            if seconds <= 0:
                raise ValueError
            return seconds
        return int(text) if isinstance(default, int) else text
    except ValueError as exc:
        kind = "a number of seconds above 0, or such as 10s" if isinstance(default, float) else "a whole number"
        raise SettingsError(f"{name} is {text!r}: it must be {kind}") from exc
