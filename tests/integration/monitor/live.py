"""A monitor as a process of its own, as in a pod, and what is sent to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[3]
TOKENS = {name: f"{name}-{'x' * 24}" for name in ("handler", "inspector", "trainer", "operator", "drift")}
TOKEN_FILE = f"""# name    roles          token
handler   ingest          {TOKENS["handler"]}
inspector feedback,read   {TOKENS["inspector"]}
trainer   read            {TOKENS["trainer"]}
operator  operator        {TOKENS["operator"]}
drift     drift           {TOKENS["drift"]}
"""
CLASSES = ("ok", "scratch", "stain", "missing_knob")


def bearer(name: str) -> dict[str, str]:
    """The header that a token is sent in."""
    return {"Authorization": f"Bearer {TOKENS[name]}"}


def a_record(label: str = "ok", **changes: Any) -> dict[str, Any]:
    """A prediction as the handler sends it."""
    confidence = changes.get("confidence", 0.91)
    rest = (1.0 - confidence) / (len(CLASSES) - 1)
    return {
        "id": str(uuid.uuid4()),
        "at": datetime.now(UTC).isoformat(),
        "namespace": "lyon",
        "model": "line-1",
        "line": "line-1",
        "revision": "line-1-predictor-00001",
        "version": "sha256:" + "ab" * 32,
        "label": label,
        "probabilities": {name: confidence if name == label else rest for name in CLASSES},
        "confidence": confidence,
        "image": {"format": "jpeg", "width": 128, "height": 128, "bytes": 5120, "brightness": 0.5, "blur": 120.0},
    } | changes


def a_label(prediction_id: str, label: str, **changes: Any) -> dict[str, Any]:
    """What an inspector says of a piece."""
    return {
        "prediction_id": prediction_id,
        "label": label,
        "who": "inspector-7",
        "at": datetime.now(UTC).isoformat(),
    } | changes


def environment(folder: Path, database: str, **more: str) -> dict[str, str]:
    """Settings of a monitor that keeps everything in a folder."""
    (folder / "tokens").write_text(TOKEN_FILE)
    settings = {"database": database, "images": str(folder / "images"), "tokens": str(folder / "tokens")} | more
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PUZZLE_MONITOR_")}
    return clean | {f"PUZZLE_MONITOR_{name.upper()}": value for name, value in settings.items()}


class Server:
    """`puzzle-monitor serve` on a free port of the loopback."""

    def __init__(self, folder: Path, database: str, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._log = folder / "monitor.log"
        self._environment = environment(folder, database, host="127.0.0.1", port=str(port), **settings)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start, and wait until it takes records."""
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "puzzle_monitor.main", "serve"]
            path = f"{REPOSITORY}/operator"
            self._process = subprocess.Popen(
                command, env=self._environment | {"PYTHONPATH": path}, stdout=log, stderr=log, cwd=self._log.parent
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"the monitor did not start:\n{self.log()[-2000:]}")

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        return code

    def log(self) -> str:
        """What it said."""
        return self._log.read_text()

    def client(self, token: str) -> httpx.Client:
        """A client with a token."""
        return httpx.Client(base_url=self.url, headers=bearer(token), timeout=30)


def send(client: httpx.Client, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Store predictions; they must be taken."""
    answer = client.post("/v1/predictions", json={"records": list(records)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
