"""The drift worker against the real monitor, on both engines: records in, drift out, labels later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from puzzle_drift.adapters.monitor import HttpMonitor
from puzzle_drift.adapters.registry import S3Registry
from puzzle_drift.core.mmd import Builtin
from puzzle_drift.core.records import Record
from puzzle_drift.service.telemetry import Telemetry
from puzzle_drift.service.worker import Worker
from tests.integration.monitor.live import TOKENS, Server, a_label, bearer
from tests.unit.drift.stand_ins import World, served
from tests.unit.drift.streams import CLASSES, records, reference

_numbers = count()
BEGIN = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def registry() -> Iterator[World]:
    with served() as found:
        yield found


def worker(live: Server, folder: Path) -> Worker:
    (folder / "token").write_text(TOKENS["drift"])
    return Worker(
        monitor=HttpMonitor(live.url, folder / "token"),
        registry=S3Registry({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}),
        backends={"builtin": Builtin},
        free_memory=lambda: 1 << 30,
        telemetry=Telemetry(),
        now=lambda: datetime.now(UTC),
    )


def wire(record: Record, model: str, version: str) -> dict[str, Any]:
    shares = dict(zip(CLASSES, record.probabilities, strict=True))
    return {
        "id": f"{model}-{record.seq}",
        "at": (BEGIN + timedelta(seconds=record.seq)).isoformat(),
        "namespace": "lyon",
        "model": model,
        "line": "line-1",
        "revision": "r1",
        "version": version,
        "label": record.label,
        "probabilities": shares,
        "confidence": max(shares.values()),
        "embedding": list(record.embedding or ()),
        "image": {"format": "jpeg", "width": 128, "height": 128, "bytes": 5120, "brightness": 0.5, "blur": 120.0},
    }


def ingest(live: Server, model: str, version: str, found: list[Record]) -> None:
    with live.client("handler") as client:
        body = {"records": [wire(record, model, version) for record in found]}
        answer = client.post("/v1/predictions", json=body)
        assert answer.status_code == 200, answer.text


def settings(version: str, registry: World) -> dict[str, Any]:
    return {
        "line": "line-1",
        "champion": version,
        "drift": {"backend": "builtin", "detector": "MMDOnline", "expected_run_images": 200, "confirm_windows": 2},
        "storage": {"endpoint": registry.endpoint, "bucket": "puzzlenet", "secure": False},
    }


def test_drift_is_found_taken_up_by_another_worker_and_called_harmful_by_labels(
    live: Server, registry: World, tmp_path: Path
) -> None:
    model, version = f"drifting-{next(_numbers)}", registry.add_version(reference(300))
    with live.client("operator") as operator:
        assert operator.put(f"/v1/models/lyon/{model}", json=settings(version, registry)).status_code == 200

    def drift() -> dict[str, Any]:
        running = worker(live, tmp_path)
        while running.cycle():
            pass
        with live.client("operator") as client:
            answer = client.get(f"/v1/models/lyon/{model}")
        (found,) = answer.json()["state"]["drift"]
        return dict(found)

    ingest(live, model, version, records(120))
    calm = drift()
    assert (calm["phase"], calm["images"], calm["harmful"]) == ("None", 120, "Unknown")
    ingest(live, model, version, records(100, seed=3, shift=3.0, first=121))
    found = drift()
    assert (found["phase"], found["images"], found["harmful"]) == ("Confirmed", 220, "Unknown")
    assert BEGIN + timedelta(seconds=120) < datetime.fromisoformat(found["since"]) < BEGIN + timedelta(seconds=180)
    labels = [a_label(f"{model}-{number}", "never heard of") for number in range(160, 200)]
    with live.client("inspector") as inspector:
        assert inspector.post("/v1/feedback", json=labels, headers=bearer("inspector")).status_code == 200
    assert drift()["harmful"] == "Yes"
    metrics = [line for line in live.client("operator").get("/metrics").text.splitlines() if model in line]
    assert any(line.startswith("puzzle_monitor_drift_threshold{") for line in metrics)
