"""The command as a process: settings, exit codes, probes, and SIGKILL at any moment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from puzzle_common.settings import ConfigurationError
from puzzle_drift.adapters import memory
from puzzle_drift.main import cli
from puzzle_drift.service.endpoint import STUCK, Pulse, serve
from puzzle_drift.service.telemetry import Telemetry
from puzzle_drift.settings import Settings
from tests.unit.drift.stand_ins import TOKEN, World, served
from tests.unit.drift.streams import records, reference

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def world() -> Iterator[World]:
    with served() as found:
        yield found


def environment(world: World, folder: Path, **more: str) -> dict[str, str]:
    (folder / "token").write_text(TOKEN)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "operator"),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "PUZZLE_DRIFT_MONITOR_URL": world.url,
        "PUZZLE_DRIFT_TOKEN_FILE": str(folder / "token"),
        "PUZZLE_DRIFT_INTERVAL": "0.1s",
        "PUZZLE_DRIFT_HOST": "127.0.0.1",
        "OPENBLAS_NUM_THREADS": "1",
        **more,
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "puzzle_drift.main", *words]


def until(question: Callable[[], bool], said: str) -> None:
    end = time.monotonic() + 120
    while not question():
        assert time.monotonic() < end, said
        time.sleep(0.02)


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def test_sigkill_at_random_moments_changes_nothing(world: World, tmp_path: Path) -> None:
    version, stream = world.add_version(reference(300)), [*records(200), *records(200, seed=3, shift=1.5, first=201)]
    world.add_model(version, expected_run_images=500)
    place = f"/v1/drift/lyon/line-1/{version}"
    given = environment(world, tmp_path, PUZZLE_DRIFT_PORT=free_port())
    rng, sent = np.random.default_rng(5), 0
    while sent < len(stream):
        process = subprocess.Popen(command("run"), env=given, stderr=subprocess.DEVNULL)
        for _ in range(3):
            step = int(rng.integers(20, 60))
            world.send(version, stream[sent : sent + step])
            sent += step
            saved = len(world.puts)
            until(lambda: len(world.puts) > saved, "nothing is saved")  # noqa: B023 - called at once
            time.sleep(float(rng.uniform(0, 0.1)))
            if sent >= len(stream):
                break
        process.kill()
        process.wait()
    subprocess.run(command("once"), env=given, check=True, stderr=subprocess.DEVNULL)
    interrupted = world.drift.pop(place)
    assert interrupted["cursor"] == len(stream)
    assert interrupted["report"]["phase"] == "Confirmed"
    subprocess.run(command("once"), env=given, check=True, stderr=subprocess.DEVNULL)
    assert world.drift[place] == interrupted


def test_it_serves_probes_and_metrics_and_ends_on_sigterm(world: World, tmp_path: Path) -> None:
    port = free_port()
    world.add_model(world.add_version(reference(200)))
    process = subprocess.Popen(command("run"), env=environment(world, tmp_path, PUZZLE_DRIFT_PORT=port))

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    until(lambda: get("/readyz")[0] == 200, "never ready")
    assert get("/healthz") == (200, "ok\n")
    assert "puzzle_drift_watches 1.0" in get("/metrics")[1]
    assert get("/else")[0] == 404
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_probes_tell_a_stuck_loop_and_an_absent_monitor() -> None:
    now = [0.0]
    pulse = Pulse(monotonic=lambda: now[0])
    server = serve("127.0.0.1", 0, Telemetry(), pulse)

    def status(path: str) -> int:
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    pulse.beat()
    assert (status("/healthz"), status("/readyz")) == (200, 503)
    pulse.beat(ready=True)
    pulse.beat()
    now[0] = STUCK + 1
    assert (status("/healthz"), status("/readyz")) == (503, 200)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PUZZLE_DRIFT_INTERVAL", "soon", "it must be a number and a unit"),
        ("PUZZLE_DRIFT_INTERVAL", "0s", "above zero"),
        ("PUZZLE_DRIFT_INTERVAL", "50ms", "must be at least 0.1s"),
        ("PUZZLE_DRIFT_MEMORY", "much", "must be a number of bytes such as 512Mi"),
        ("PUZZLE_DRIFT_PORT", "70000", "it must be at most 65535"),
        ("PUZZLE_DRIFT_PORT", "x", "must be a whole number"),
        ("PUZZLE_DRIFT_MONITOR_URL", "monitor:8090", "write http://… or https://…"),
        ("PUZZLE_DRIFT_LOG_LEVEL", "loud", "debug, info, warning or error"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as found:
        Settings.from_environment({name: value})
    assert said in str(found.value)


def test_settings_are_read_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"PUZZLE_DRIFT_MEMORY": "512Mi", "PUZZLE_DRIFT_LABEL_WAIT": "2h", "PUZZLE_DRIFT_PORT": ""}
    found = Settings.from_environment(given)
    assert (found.memory, found.label_wait, found.port) == (512 << 20, timedelta(hours=2), 8092)
    monkeypatch.setenv("PUZZLE_DRIFT_MEMORY", "512Mi")
    shown = CliRunner().invoke(cli, ["settings"]).stdout
    assert "PUZZLE_DRIFT_MEMORY       536870912\n" in shown
    assert "PUZZLE_DRIFT_INTERVAL     10s  (default)" in shown


def test_exit_codes(world: World, tmp_path: Path) -> None:
    given = environment(world, tmp_path)
    for change, code, said in (
        ({"AWS_ACCESS_KEY_ID": ""}, 2, "AWS_ACCESS_KEY_ID is not set"),
        ({"PUZZLE_DRIFT_PORT": "-1"}, 2, "PUZZLE_DRIFT_PORT"),
        ({"PUZZLE_DRIFT_MONITOR_URL": "http://127.0.0.1:9"}, 1, "the monitor does not answer"),
    ):
        ended = subprocess.run(command("once"), env={**given, **change}, capture_output=True, text=True, check=False)
        assert ended.returncode == code
        assert said in ended.stderr.splitlines()[-1]
        assert "Traceback" not in ended.stderr


def test_the_memory_limit_is_that_of_the_cgroup(tmp_path: Path) -> None:
    machine = memory.limit(tmp_path / "none")
    assert machine > 1 << 28
    (tmp_path / "memory.max").write_text("268435456\n")
    assert memory.limit(tmp_path) == 268_435_456
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.limit(tmp_path) == machine
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("134217728")
    assert memory.limit(tmp_path) == 134_217_728
    assert 0 < memory.resident() < machine
    assert memory.free(1 << 40) == pytest.approx(0.85 * (1 << 40) - memory.resident(), rel=0.01)


def test_help_is_worth_reading() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    for word in ("Suspected or Confirmed", "PUZZLE_DRIFT_", "AWS_ACCESS_KEY_ID", "Exit codes", "run", "once"):
        assert word in shown
    assert json.dumps(shown)
