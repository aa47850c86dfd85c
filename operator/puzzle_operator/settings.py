"""Settings of the operator: environment variables, read once at start and frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from puzzle_common.settings import ConfigurationError, HttpUrl, LogLevel, Port, Seconds, Words, read_settings

PREFIX = "PUZZLE_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Intervals in seconds. Each field is the environment variable PUZZLE_<NAME>."""

    prometheus_url: HttpUrl = "http://prometheus.monitoring:9090"
    """Where request metrics are read."""
    watch_namespaces: Words = ()
    """Namespaces of models, separated by commas; empty: all."""
    operator_class: str = ""
    """Acts only on models whose annotation puzzlenet.dev/operator-class says this; empty: on those without one."""
    log_level: LogLevel = "info"
    """How much is logged."""
    metrics_port: Port = 9100
    """Port of the operator's own Prometheus metrics; 0: none."""
    probe_port: Port = 8080
    """Port of the liveness probe /healthz; 0: none."""
    moving_interval: Seconds = 1.0
    """Between passes while KServe moves something."""
    blocked_interval: Seconds = 15.0
    """Between passes while something is missing."""
    resting_interval: Seconds = 60.0
    """Between passes while nothing goes on."""
    api_timeout: Seconds = 10.0
    """For one call of the Kubernetes API."""
    prometheus_timeout: Seconds = 5.0
    """For one query."""
    prometheus_window: Seconds = 2.0
    """For which one answer of Prometheus serves all models."""
    prometheus_stale_after: Seconds = 60.0
    """After which a scrape counts as an outage."""
    queue_proxy_job: str = ".*queue-proxy.*"
    """Regular expression of the scrape jobs that read queue-proxy."""
    monitor_url: HttpUrl = ""
    """Address of the monitor, from here and from the predictors; empty: there is none."""
    monitor_token_file: str = ""
    """File with the operator's token for it (role operator)."""
    monitor_secret: str = "puzzle-monitor-ingest"  # noqa: S105 - the name of a Secret
    """Secret in a model's namespace with the predictors' token, under the key token."""
    monitor_timeout: Seconds = 5.0
    """For one request to the monitor; a pass waits half a second at most."""
    trainer_image: str = ""
    """Image of the Jobs that retrain; empty: nothing is retrained."""
    trainer_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When nodes fetch that image."""
    trainer_command: str = ""
    """JSON list of words that replaces the image's entry point, for tests; empty: the image's own."""
    signing_secret: str = ""
    """Secret in a model's namespace with the keys sign.key and verify.pub, for trainers; empty: none."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read PUZZLE_* variables; empty ones count as unset.

        Raises:
            ConfigurationError: naming the variable.
        """
        settings = read_settings(cls, PREFIX, environment)
        settings.trainer_words()
        return settings

    def trainer_words(self) -> tuple[str, ...]:
        """The trainer's command.

        Raises:
            ConfigurationError: if it is no list of words.
        """
        try:
            words = json.loads(self.trainer_command or "[]")
        except ValueError:
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ConfigurationError(
                'PUZZLE_TRAINER_COMMAND must be a JSON list of words, such as ["python3", "train.py"]'
            )
        return tuple(words)
