"""What TorchServe is started with: the verified version only, and every door shut that can be shut."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from puzzlenet import supervisor
from puzzlenet.errors import BadVersionError, PuzzleNetError
from puzzlenet.manifest import verify
from puzzlenet.serve import ServeConfig, prepare


def _config(folder: Path, workdir: Path, **changes: object) -> ServeConfig:
    settings: dict[str, object] = {"model_dir": folder, "workdir": workdir, **changes}
    if "version" not in settings:
        settings["version"] = verify(folder).digest
    return ServeConfig(**settings)  # type: ignore[arg-type]


def _properties(workdir: Path) -> dict[str, str]:
    lines = (workdir / "config.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_configuration_shuts_management_grpc_and_model_loading(version: Path, tmp_path: Path) -> None:
    prepare(_config(version, tmp_path), dict(os.environ))
    found = _properties(tmp_path)
    assert found["management_address"] == "http://127.0.0.1:8081" and found["enable_model_api"] == "false"
    assert found["grpc_inference_address"] == found["grpc_management_address"] == "127.0.0.1"
    assert found["allowed_urls"] == "nothing://" and found["install_py_dep_per_model"] == "false"
    assert found["inference_address"] == "http://0.0.0.0:8080" and found["metrics_address"] == "http://0.0.0.0:8082"
    assert found["metrics_mode"] == "prometheus" and found["default_workers_per_model"] == "1"


def test_nothing_is_written_outside_the_work_folder(version: Path, tmp_path: Path) -> None:
    before = sorted(version.iterdir())
    _, launch = prepare(_config(version, tmp_path / "work"), dict(os.environ))
    assert sorted(version.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]
    assert launch.environment["TMPDIR"].startswith(str(tmp_path)) and launch.environment["HOME"] == str(
        tmp_path / "work"
    )


def test_credentials_and_torchserve_s_own_variables_do_not_reach_the_server(version: Path, tmp_path: Path) -> None:
    given = {**os.environ, "AWS_SECRET_ACCESS_KEY": "secret", "TS_ALLOWED_URLS": "http.*", "TS_CONFIG_FILE": "/evil"}
    _, launch = prepare(_config(version, tmp_path), given)
    assert not {"AWS_SECRET_ACCESS_KEY", "TS_ALLOWED_URLS", "TS_CONFIG_FILE"} & set(launch.environment)


def test_an_altered_version_is_refused_before_anything_is_written(version: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in version.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "puzzlenet.mar").write_bytes(b"something else")
    with pytest.raises(BadVersionError, match=r"puzzlenet\.mar is not the file"):
        prepare(_config(copy, tmp_path / "work", version=verify(version).digest), dict(os.environ))
    assert not (tmp_path / "work").exists()


def test_a_work_folder_that_cannot_be_written_to_is_named(version: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PuzzleNetError, match="--workdir"):
        prepare(_config(version, tmp_path / "file" / "work"), dict(os.environ))


def test_a_machine_without_java_is_told_what_to_install(version: Path, tmp_path: Path) -> None:
    with pytest.raises(PuzzleNetError, match="Java 17"):
        prepare(_config(version, tmp_path), {**os.environ, "JAVA_HOME": str(tmp_path)})


@pytest.mark.parametrize("change", [{"port": 0}, {"port": 8082}, {"heap_mib": 8}])
def test_ports_that_clash_and_a_heap_too_small_are_refused(
    version: Path, tmp_path: Path, change: dict[str, int]
) -> None:
    with pytest.raises(PuzzleNetError):
        _config(version, tmp_path, **change)


_CHILD = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); "


def _supervise(drain: float, child: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-I", supervisor.__file__, str(drain), "1", "1", sys.executable, "-c", child]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    return process


def test_the_supervisor_lets_the_server_go_on_for_the_drain_time() -> None:
    process = _supervise(0.6, _CHILD + "time.sleep(60)")
    started = time.monotonic()
    process.terminate()
    assert process.wait(timeout=10) == 0
    assert 0.5 <= time.monotonic() - started < 5


def test_the_supervisor_kills_a_server_that_does_not_stop() -> None:
    process = _supervise(
        0.0,
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
    )
    process.terminate()
    assert process.wait(timeout=10) == 0


def test_a_server_that_ends_by_itself_gives_its_own_exit_status() -> None:
    assert _supervise(5.0, "print('up', flush=True); import sys; sys.exit(7)").wait(timeout=10) == 7


def test_bad_settings_of_records_are_refused_before_anything_is_written(version: Path, tmp_path: Path) -> None:
    monitor = {**os.environ, "PUZZLE_MONITOR_URL": "http://monitor"}
    with pytest.raises(PuzzleNetError, match="PUZZLE_MONITOR_QUEUE is '0'"):
        prepare(_config(version, tmp_path / "work"), {**monitor, "PUZZLE_MONITOR_QUEUE": "0"})
    assert not (tmp_path / "work").exists()


def test_a_token_that_is_missing_is_said_and_stops_no_serving(
    version: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = {"PUZZLE_MONITOR_URL": "http://monitor", "PUZZLE_MONITOR_TOKEN_FILE": str(tmp_path / "none")}
    _, launch = prepare(_config(version, tmp_path / "work"), {**os.environ, **token})
    assert launch.environment["PUZZLE_MONITOR_TOKEN_FILE"] == str(tmp_path / "none")
    (said,) = caplog.messages
    assert "nothing is recorded until the monitor's token is there" in said and "mount the monitor's Secret" in said


class _Pod(BaseHTTPRequestHandler):
    """Answers probes: so many records wait, one fewer each time."""

    left = 0

    def do_GET(self) -> None:
        assert self.path == supervisor.PROBE_PATH and self.headers[supervisor.PROBE_HEADER] == supervisor.DRAIN
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"ready": True, "pending": type(self).left}).encode())
        type(self).left = max(0, type(self).left - 1)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(("left", "lost"), [(3, False), (1_000, True)])
def test_the_supervisor_waits_for_records_but_not_for_long(
    left: int, lost: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Pod", (_Pod,), {"left": left}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    started = time.monotonic()
    supervisor.wait_for_records(server.server_address[1], 1.0)
    assert time.monotonic() - started < 5
    assert ("lost with this pod" in capfd.readouterr().err) is lost
    server.shutdown()
    server.server_close()


def test_a_server_that_says_nothing_of_records_is_not_waited_for() -> None:
    assert supervisor.wait_for_queue(1, 1.0) == 0
