"""The command's settings and its refusals."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from puzzle_common.settings import ConfigurationError
from puzzle_operator.main import cli
from puzzle_operator.settings import Settings


def test_nothing_set_is_the_defaults() -> None:
    assert Settings.from_environment({"PUZZLE_LOG_LEVEL": ""}) == Settings()


def test_every_kind_of_setting_is_read() -> None:
    settings = Settings.from_environment(
        {
            "PUZZLE_WATCH_NAMESPACES": "lyon, metz,",
            "PUZZLE_METRICS_PORT": "0",
            "PUZZLE_RESTING_INTERVAL": "2m",
            "PUZZLE_PROMETHEUS_URL": "https://prometheus.example",
        }
    )
    assert settings.watch_namespaces == ("lyon", "metz")
    assert (settings.metrics_port, settings.resting_interval) == (0, 120.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUZZLE_METRICS_PORT", "many"),
        ("PUZZLE_RESTING_INTERVAL", "-1"),
        ("PUZZLE_RESTING_INTERVAL", "soon"),
        ("PUZZLE_LOG_LEVEL", "loud"),
        ("PUZZLE_PROMETHEUS_URL", "prometheus:9090"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is '{value}'"):
        Settings.from_environment({name: value})


def test_the_command_refuses_bad_settings_with_code_2() -> None:
    result = CliRunner().invoke(cli, ["run"], env={"PUZZLE_METRICS_PORT": "many"})
    assert result.exit_code == 2


def test_the_command_shows_its_settings() -> None:
    result = CliRunner().invoke(cli, ["settings"], env={"PUZZLE_LOG_LEVEL": "debug"})
    assert "PUZZLE_LOG_LEVEL" in result.output
    assert "PUZZLE_OPERATOR_CLASS" in result.output
