"""A real TorchServe on loopback, started as in the pod: both protocols, bad input, counters, readiness, shutdown."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from puzzlenet.manifest import verify
from puzzlenet.package import package
from puzzlenet.serve import REFUSED

V1, V2 = "/v1/models/puzzlenet:predict", "/v2/models/puzzlenet/infer"
PROBE = {"Puzzlenet-Probe": "ready"}


@dataclass(frozen=True)
class Server:
    """A server under test, by its ports."""

    process: "subprocess.Popen[bytes]"
    digest: str
    port: int
    metrics_port: int
    management_port: int
    log: Path

    def call(
        self,
        path: str,
        body: bytes | None = None,
        *,
        port: int = 0,
        timeout: float = 30.0,
        method: str = "",
        **headers: str,
    ) -> tuple[int, bytes]:
        """Status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, fields)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, path: str, body: Any) -> tuple[int, Any]:
        """Post JSON, read JSON."""
        status, answer = self.call(path, json.dumps(body).encode(), Content_Type="application/json")
        return status, json.loads(answer)

    def ready(self) -> bool:
        """The probe of the pod."""
        try:
            return self.call("/predictions/puzzlenet", Puzzlenet_Probe="ready", timeout=1.0)[0] == 200
        except OSError:
            return False

    def counters(self) -> dict[str, float]:
        """Our counters by series, without the host's name."""
        status, text = self.call("/metrics", port=self.metrics_port)
        assert status == 200
        series = [line.rsplit(" ", 1) for line in text.decode().splitlines() if line.startswith("puzzlenet_")]
        return {name.split("Hostname")[0].rstrip(",{"): float(value) for name, value in series}


def start(folder: Path, workdir: Path, *, drain: float = 0.0) -> Server:
    """Start a server of a version folder and wait until its probe says ready."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(5)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [str(one.getsockname()[1]) for one in sockets]
    names = ("--port", "--metrics-port", "--management-port", "--grpc-port", "--grpc-management-port")
    digest = verify(folder).digest
    log = workdir.with_suffix(".log")
    command = [sys.executable, "-c", "from puzzlenet.cli import main; main()", "serve"]
    command += ["--model-dir", str(folder), "--version", digest, "--workdir", str(workdir)]
    command += ["--host", "127.0.0.1", "--drain", str(drain)]
    command += [word for pair in zip(names, ports, strict=True) for word in pair]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    server = Server(process, digest, int(ports[0]), int(ports[1]), int(ports[2]), log)
    deadline = time.monotonic() + 180
    while not server.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            stop(server)
            pytest.fail(f"TorchServe did not become ready:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)
    return server


def stop(server: Server) -> int:
    """Ask the server to end, and wait until it has."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    return server.process.wait(timeout=60)


@pytest.fixture(scope="module")
def server(version: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that do not end it."""
    running = start(version, tmp_path_factory.mktemp("serve") / "work")
    yield running
    stop(running)


@pytest.fixture(scope="module")
def image(pieces: Path) -> bytes:
    """One piece as the camera sends it."""
    return next((pieces / "scratch").iterdir()).read_bytes()


def _v2(*images: bytes, id: str = "piece-1") -> dict[str, Any]:
    data = [base64.b64encode(one).decode() for one in images]
    return {"id": id, "inputs": [{"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}]}


def _v1(*images: bytes) -> dict[str, Any]:
    return {"instances": [{"image": {"b64": base64.b64encode(one).decode()}} for one in images]}


def test_one_process_answers_v1_v2_and_plain_pictures_alike(server: Server, image: bytes) -> None:
    status_2, second = server.ask(V2, _v2(image, image))
    status_1, first = server.ask(V1, _v1(image))
    status_0, raw = server.call("/predictions/puzzlenet", image, Content_Type="image/png")
    assert status_0 == status_1 == status_2 == 200
    outputs = {output["name"]: output for output in second["outputs"]}
    plain, prediction = json.loads(raw), first["predictions"][0]
    assert outputs["label"]["data"] == [prediction["label"]] * 2 and plain["label"] == prediction["label"]
    assert outputs["classes"]["data"] == list(prediction["probabilities"])
    assert outputs["probabilities"]["shape"] == [2, 6]
    assert outputs["probabilities"]["data"][:6] == pytest.approx(list(prediction["probabilities"].values()), abs=1e-4)
    assert second["id"] == "piece-1"
    assert second["model_version"] == prediction["version"] == plain["version"] == server.digest


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        (V2, b"{", 400, "neither valid JSON"),
        (V2, b"", 400, "empty"),
        (V2, b"{}", 400, "'inputs'"),
        (V2, json.dumps(_v2(b"no picture")).encode(), 415, "neither PNG nor JPEG"),
        (V2, json.dumps(_v2(b"\x89PNG\r\n\x1a\nbroken")).encode(), 400, "damaged"),
        (V2, json.dumps(_v2(*[b"x"] * 33)).encode(), 413, "at most 32"),
        (V1, json.dumps(_v1(b"GIF89a")).encode(), 415, "instances[0]"),
        (V1, json.dumps({"instances": [{"image": {"b64": "&"}}]}).encode(), 400, "not valid base64"),
        ("/predictions/puzzlenet", b"GIF89a", 400, "neither valid JSON nor a PNG or JPEG"),
    ],
)
def test_a_bad_request_is_a_4xx_with_a_sentence(
    server: Server, path: str, body: bytes, status: int, sentence: str
) -> None:
    found, answer = server.call(path, body, Content_Type="application/json")
    assert found == status and sentence in json.loads(answer)["error"]


def test_a_picture_cut_short_anywhere_is_never_a_server_error(server: Server, image: bytes) -> None:
    for cut in range(8, len(image), max(1, len(image) // 12)):
        status, answer = server.ask(V2, _v2(image[:cut]))
        assert status in (200, 400), answer


def test_a_body_over_the_bound_is_refused_while_the_server_goes_on(server: Server, image: bytes) -> None:
    try:
        status, _ = server.call(V2, bytes(13 * 1024 * 1024), Content_Type="application/json", Expect="100-continue")
        assert status == 413
    except OSError:
        pass  # the server may hang up before it has read the body to its end
    assert server.ask(V2, _v2(image))[0] == 200


def test_counters_count_pictures_and_bad_requests(server: Server, image: bytes) -> None:
    def read() -> tuple[float, float]:
        found = server.counters()
        predictions = {name: value for name, value in found.items() if name.startswith("puzzlenet_predictions_total")}
        assert len(predictions) == 6, "every label has a series before its first prediction"
        assert found["puzzlenet_low_confidence_total"] >= 0
        return sum(predictions.values()), found["puzzlenet_bad_input_total"]

    time.sleep(2.0)  # what was counted before has been told by then
    pictures, bad = read()
    server.ask(V2, _v2(image, image, image))
    server.ask(V1, {"instances": []})
    assert server.ready()
    deadline = time.monotonic() + 10
    while read() != (pictures + 3, bad + 1) and time.monotonic() < deadline:
        time.sleep(0.1)  # counters reach the front end a second after the answer
    assert read() == (pictures + 3, bad + 1)


def test_models_cannot_be_added_or_removed(server: Server) -> None:
    for method, path in (("POST", "/models?url=http://127.0.0.1:9/x.mar"), ("DELETE", "/models/puzzlenet")):
        assert server.call(path, b"", port=server.management_port, method=method)[0] == 405
    assert server.call("/models", port=server.port)[0] == 404


def test_only_inference_and_metrics_listen_beyond_loopback(version: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from puzzlenet.cli import main; main()", "serve", "--check"]
    command += ["--model-dir", str(version), "--version", verify(version).digest, "--workdir", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    addresses = [line for line in (tmp_path / "config.properties").read_text().splitlines() if "_address=" in line]
    outside = sorted(line.split("=")[0] for line in addresses if "127.0.0.1" not in line)
    assert outside == ["inference_address", "metrics_address"]


def test_an_answer_that_is_being_computed_is_finished_after_sigterm(run: Path, pieces: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    package(run, slow, views=24)
    server = start(slow, tmp_path / "work", drain=0.5)
    images = [path.read_bytes() for path in sorted((pieces / "ok").iterdir())[:16]]
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(server.ask, V2, _v2(*images, id=f"request-{i}")) for i in range(4)]
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        answers = [one.result(timeout=60) for one in waiting]
    assert [(status, answer["id"]) for status, answer in answers] == [(200, f"request-{i}") for i in range(4)]
    assert server.process.wait(timeout=60) == 0


def test_a_version_that_takes_png_only_refuses_jpeg_in_a_sentence(
    run: Path, pieces: Path, image: bytes, tmp_path: Path
) -> None:
    package(run, tmp_path / "png", accept=("png",))
    server = start(tmp_path / "png", tmp_path / "work")
    try:
        assert server.ask(V2, _v2(image))[0] == 200
        status, answer = server.ask(V2, _v2(b"\xff\xd8\xff\xe0" + bytes(100)))
        assert status == 415 and answer["error"].endswith("is a JPEG; this version accepts PNG only")
    finally:
        stop(server)


def test_a_version_that_is_not_what_it_claims_is_not_served(version: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from puzzlenet.cli import main; main()", "serve", "--model-dir", str(version)]
    command += ["--version", "sha256:" + "0" * 64, "--workdir", str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
    assert done.returncode == REFUSED and "altered or mixed up" in done.stderr
    assert not (tmp_path / "work").exists()
