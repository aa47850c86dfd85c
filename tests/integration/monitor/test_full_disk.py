"""The monitor's volume is full: it refuses what it cannot keep, and nothing that was acknowledged is lost."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from puzzlenet.predictor import Prediction
from puzzlenet.records.recorder import Recorder
from puzzlenet.records.settings import Origin, RecordSettings
from puzzlenet.records.tally import DROPPED, QUEUE
from puzzlenet.traffic import Traffic
from tests.integration.disk import fill, small_disk
from tests.integration.monitor.live import TOKENS, Server, a_record
from tests.integration.monitor.test_durability import stored

MODEL = "recorded"
ORIGIN = Origin(namespace="lyon", model=MODEL, line="line-1", revision="r-00001", version="sha256:" + "12" * 32)
QUEUE_LENGTH = 300
OFFERED = 800


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    return out.getvalue()


PICTURE = _picture()


class Counters:
    """What the recorder exports, as TorchServe's front end would add it up."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()

    def __call__(self, name: str, value: float, labels: Sequence[str]) -> None:
        self.totals[name] = int(value) if name == QUEUE else self.totals[name] + int(value)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "volume", "16m") as found:
        yield found


@pytest.fixture
def monitor(volume: Path, tmp_path: Path) -> Iterator[Server]:
    """Database and pictures on the small volume."""
    found = Server(tmp_path, f"sqlite:///{volume}/monitor.db", images=str(volume / "images"), rate="100000").start()
    yield found
    found.kill()


@pytest.fixture
def recorder(monitor: Server, tmp_path: Path) -> Iterator[tuple[Recorder, Counters]]:
    """What TorchServe's handler has, with a short queue."""
    (tmp_path / "token").write_text(TOKENS["handler"] + "\n")
    counters = Counters()
    settings = RecordSettings(
        url=monitor.url, origin=ORIGIN, token_file=tmp_path / "token", image_share=0.0, queue=QUEUE_LENGTH
    )
    found = Recorder(settings, ("ok", "scratch"), counters, Traffic())
    yield found, counters
    found.close(1.0)


def _until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s it is still not so that {what}"
        time.sleep(0.1)


def _send_until_refused(handler: httpx.Client) -> tuple[list[str], httpx.Response]:
    """Ids that were acknowledged, and the refusal."""
    taken: list[str] = []
    for _ in range(500):
        batch: list[dict[str, Any]] = [a_record(model=MODEL) for _ in range(50)]
        answer = handler.post("/v1/predictions", json={"records": batch})
        if answer.status_code != 200:
            return taken, answer
        taken += [one["id"] for one in batch]
    raise AssertionError("the volume was never full")


@pytest.mark.timeout(180)
def test_a_full_volume_refuses_what_it_cannot_keep_and_loses_nothing(
    monitor: Server, volume: Path, recorder: tuple[Recorder, Counters]
) -> None:
    keeps, counters = recorder
    with monitor.client("handler") as handler, monitor.client("trainer") as trainer:
        before = [a_record(model=MODEL) for _ in range(200)]
        assert handler.post("/v1/predictions", json={"records": before}).status_code == 200
        ballast = fill(volume)
        taken, refusal = _send_until_refused(handler)
        assert refusal.status_code == 503 and int(refusal.headers["retry-after"]) >= 1
        assert "full" in refusal.json()["detail"], refusal.text

        offered = [f"offered-{number}" for number in range(OFFERED)]
        for one in offered:
            _offer(keeps, one)
        _until(lambda: counters.totals[DROPPED] == OFFERED - QUEUE_LENGTH, "what has no room is counted")
        assert keeps.pending == QUEUE_LENGTH
        assert httpx.get(f"{monitor.url}/healthz").status_code == 200, "a restart would not help"
        acknowledged = {one["id"] for one in before} | set(taken)
        assert trainer.get(f"/v1/predictions/{before[0]['id']}").status_code == 200, "what is there can be read"
        lines = httpx.get(f"{monitor.url}/metrics").text.splitlines()
        refused = [line for line in lines if line.startswith("puzzle_monitor_requests_total") and '"503"' in line]
        assert refused and float(refused[0].split()[-1]) >= 1, "refusals are counted"

        ballast.unlink()
        _until(lambda: keeps.pending == 0, "the recorder has sent what it kept")
        assert handler.post("/v1/predictions", json={"records": [a_record(model=MODEL)]}).status_code == 200
    kept = set(offered[:QUEUE_LENGTH])
    assert acknowledged | kept <= set(stored(monitor, MODEL))
    monitor.kill()
    monitor.start()
    there = set(stored(monitor, MODEL))
    assert acknowledged | kept <= there and not there & set(offered[QUEUE_LENGTH:])
    print(f"\n{len(acknowledged)} records were acknowledged: all are there, after a kill too. On the full volume")
    print(
        f"{OFFERED} predictions were made: {len(kept)} waited and were sent, {OFFERED - len(kept)} dropped and counted"
    )


def _offer(recorder: Recorder, prediction: str) -> None:
    pixels = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    embedding = np.zeros((1, 64), dtype=np.float32)
    recorder.offer([prediction], [PICTURE], [Prediction("ok", (0.9, 0.1))], pixels, embedding)
