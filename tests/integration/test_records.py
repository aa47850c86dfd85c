"""Records from a real TorchServe to a real HTTP server that is down, slow, broken or rude: serving does not notice."""

import base64
import json
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.integration.monitor.live import TOKENS
from tests.integration.monitor.live import Server as Monitor
from tests.integration.test_torchserve import V1, V2, Server, start, stop
from tests.receiver import Mood, Receiver

QUEUE = 150
TOKEN = "ingest-token"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """The monitor's stand-in; it wants a token."""
    running = Receiver(token=TOKEN).start()
    yield running
    running.stop()


def _serve(
    version: Path, folder: Path, receiver: Receiver | Monitor, *, token: str = TOKEN, drain: float = 0.0
) -> Server:
    (folder / "token").write_text(token + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUZZLE_MONITOR_URL", receiver.url)
        patch.setenv("PUZZLE_MONITOR_TOKEN_FILE", str(folder / "token"))
        patch.setenv("PUZZLE_MONITOR_QUEUE", str(QUEUE))
        patch.setenv("PUZZLE_MONITOR_IMAGE_BELOW", "1")
        patch.setenv("PUZZLENET_LINE", "line-1")
        patch.setenv("K_REVISION", "line-1-00001")
        return start(version, folder / "work", drain=drain)


@pytest.fixture(scope="module")
def server(version: Path, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server that records, for the tests that do not end it."""
    running = _serve(version, tmp_path_factory.mktemp("records"), receiver)
    yield running
    stop(running)


@pytest.fixture(scope="module")
def image(pieces: Path) -> bytes:
    """One piece as the camera sends it."""
    return next((pieces / "scratch").iterdir()).read_bytes()


def _body(image: bytes, id: str) -> dict[str, Any]:
    data = [base64.b64encode(image).decode()]
    return {"id": id, "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}]}


def _ask(server: Server, image: bytes, name: str, count: int) -> list[float]:
    """Seconds of each of so many requests, two at a time; every one of them has to be answered with its record's id."""

    def one(index: int) -> float:
        started = time.perf_counter()
        status, answer = server.ask(V2, _body(image, f"{name}-{index}"))
        took = time.perf_counter() - started
        records = [output["data"] for output in answer["outputs"] if output["name"] == "record"]
        assert (status, records) == (200, [[f"{name}-{index}"]]), answer
        return took

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(count)))


def _until(server: Server, series: str, least: float, timeout: float = 60.0) -> float:
    """The counter, once it is so high."""
    deadline = time.monotonic() + timeout
    while (value := server.counters().get(series, -1.0)) < least and time.monotonic() < deadline:
        time.sleep(0.2)
    assert value >= least, f"{series}: {value}"
    return value


def _memory(server: Server) -> int:
    """Resident bytes of the worker, the biggest process below the server."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue
        fields = text.rsplit(")", 1)[1].split()
        parents[int(status.parent.name)] = (int(fields[1]), "python" in text, int(fields[21]) * 4096)
    below, sizes = {server.process.pid}, [0]
    for _ in range(3):
        below |= {pid for pid, (parent, _, _) in parents.items() if parent in below}
    sizes += [size for pid, (_, python, size) in parents.items() if pid in below and python]
    return max(sizes)


def test_every_prediction_of_every_protocol_arrives_once(server: Server, receiver: Receiver, image: bytes) -> None:
    _, v1 = server.ask(V1, {"instances": [{"image": {"b64": base64.b64encode(image).decode()}}] * 2})
    _, raw = server.call("/predictions/puzzlenet", image, Content_Type="image/png")
    _ask(server, image, "v2", 40)
    wanted = [one["id"] for one in v1["predictions"]] + [json.loads(raw)["id"]] + [f"v2-{n}" for n in range(40)]
    found = {record["id"]: record for record in receiver.wait_for(len(wanted), timeout=20.0)}
    assert sorted(found) == sorted(wanted) and len(receiver.records) == len(wanted)
    one = found["v2-7"]
    assert (one["line"], one["revision"], one["version"]) == ("line-1", "line-1-00001", server.digest)
    assert one["image"]["bytes"] == len(image) and len(one["embedding"]) == 64
    _until(server, "puzzlenet_records_sent_total", len(wanted))
    _until(server, 'puzzlenet_record_images_total{outcome="sent"', 20)  # a burst of 20, then 5 a second
    assert all(picture.startswith(b"\xff\xd8\xff") for picture in receiver.pictures.values())


@pytest.mark.parametrize("mood", ["slow", "broken", "unauthorised", "busy", "hangs up", "down"])
def test_a_monitor_in_any_mood_costs_serving_nothing(
    server: Server, receiver: Receiver, image: bytes, mood: Mood | Literal["down"]
) -> None:
    port, name = receiver.port, mood.replace(" ", "-")
    usual = _ask(server, image, f"{name}-before", 60)
    if mood == "down":
        receiver.stop()
    else:
        receiver.mood = mood
    asked = receiver.requests
    try:
        while_away = _ask(server, image, f"{name}-away", 120)
        if mood != "down":
            _until_asked(receiver, asked)
    finally:
        receiver.mood = "fine"
        if mood == "down":
            receiver.start(port)
    # Not a measure of speed (benchmarks/records.py is): one wait for a slow monitor would be five seconds, and the
    # median of requests that waited for anything would leave the range of a busy machine.
    assert statistics.median(while_away) < 3 * statistics.median(usual) + 0.1
    assert max(while_away) < max(usual) + 4.0
    arrived = _arrived_after(server, receiver, image, name)
    counters = server.counters()
    if mood == "unauthorised":
        assert counters['puzzlenet_records_refused_total{reason="401"'] > 0
    else:
        missing = {f"{name}-away-{index}" for index in range(120)} - arrived
        assert len(missing) <= counters["puzzlenet_records_dropped_total"], "nothing is lost that is not counted"
    assert TOKEN not in server.log.read_text()


def _until_asked(receiver: Receiver, before: int, timeout: float = 30.0) -> None:
    """Wait until the mood has met a batch: a fast machine answers all pieces before the first one is sent."""
    deadline = time.monotonic() + timeout
    while receiver.requests == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert receiver.requests > before, "nothing was sent to the monitor at all"


def _arrived_after(server: Server, receiver: Receiver, image: bytes, name: str) -> set[str]:
    """What had arrived by the time that the first new record did: then all that had waited before it has, too."""
    deadline = time.monotonic() + 60
    for index in range(120):
        _ask(server, image, f"{name}-after-{index}", 1)
        time.sleep(0.5)
        arrived = {record["id"] for record in receiver.records}
        if any(record.startswith(f"{name}-after") for record in arrived):
            return arrived
        assert time.monotonic() < deadline, "recording must go on when the monitor is back"
    return set()


def test_nothing_grows_while_the_monitor_is_away(server: Server, receiver: Receiver, image: bytes) -> None:
    before = server.counters()["puzzlenet_records_dropped_total"]
    receiver.mood = "broken"
    try:
        _ask(server, image, "filling", 2 * QUEUE)
        full = _memory(server)
        _ask(server, image, "overflowing", 3 * QUEUE)
        assert _memory(server) < full + 8 * 1024 * 1024
        # Pictures of records that were taken before wait beside the queue, a burst of them at most.
        assert server.counters()["puzzlenet_records_queue"] <= QUEUE + 20
        dropped = _until(server, "puzzlenet_records_dropped_total", before + 4 * QUEUE - 20)
        assert dropped <= before + 4 * QUEUE + 20
    finally:
        receiver.mood = "fine"


def test_the_last_records_are_sent_before_the_server_ends(version: Path, image: bytes, tmp_path: Path) -> None:
    receiver = Receiver(token=TOKEN).start()
    server = _serve(version, tmp_path, receiver, drain=0.2)
    _ask(server, image, "last", 60)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0
    assert sorted(record["id"] for record in receiver.records) == sorted(f"last-{index}" for index in range(60))
    receiver.stop()


def test_a_monitor_that_is_away_does_not_hold_up_the_end(version: Path, image: bytes, tmp_path: Path) -> None:
    receiver = Receiver().start()
    server = _serve(version, tmp_path, receiver, drain=0.2)
    receiver.stop()
    _ask(server, image, "lost", 20)
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0
    assert time.monotonic() - started < 15
    assert "20 records of predictions are lost with this pod" in server.log.read_text()


def test_the_monitor_itself_takes_records_and_pictures(version: Path, image: bytes, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, f"sqlite:///{tmp_path}/monitor.db").start()
    server = _serve(version, tmp_path, monitor, token=TOKENS["handler"], drain=0.2)
    _ask(server, image, "real", 10)
    _until(server, 'puzzlenet_record_images_total{outcome="sent"', 10)
    _ask(server, image, "real", 1)
    _until(server, 'puzzlenet_records_refused_total{reason="conflict"', 1)
    assert server.counters()["puzzlenet_records_sent_total"] == 10
    stop(server)
    with monitor.client("trainer") as client:
        found = client.get("/v1/predictions/real-3").json()
        picture = client.get("/v1/predictions/real-3/image")
    monitor.stop()
    assert (found["line"], found["version"], found["has_image"]) == ("line-1", server.digest, True)
    assert found["image"]["width"] == 128 and found["image"]["format"] == "png" and found["image"]["blur"] > 0
    assert picture.status_code == 200 and picture.content.startswith(b"\xff\xd8\xff")


def test_without_a_monitor_no_metric_of_records_is_there(version: Path, image: bytes, tmp_path: Path) -> None:
    server = start(version, tmp_path / "work")
    try:
        assert _ask(server, image, "quiet", 3)
        assert not [name for name in server.counters() if "record" in name]
    finally:
        stop(server)
