"""Quality inspectors: they look at pieces that the line has sent and tell the monitor what each truly is."""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import httpx
from kubernetes import client

from tests.harness.line import Answer
from tests.harness.settings import SYSTEM_NAMESPACE

BATCH_SECONDS = 2.0


def monitor_url() -> str:
    """The monitor's address as seen from here: PUZZLE_MONITOR_URL, else that of its Service."""
    if given := os.environ.get("PUZZLE_MONITOR_URL"):
        return given.rstrip("/")
    service: Any = client.CoreV1Api().read_namespaced_service("puzzle-monitor", SYSTEM_NAMESPACE)
    return f"http://{service.spec.cluster_ip}:{service.spec.ports[0].port}"


def monitor_token(role: str) -> str:
    """The token of the chart's Secret that opens this role; raises LookupError when there is none."""
    secret: Any = client.CoreV1Api().read_namespaced_secret("puzzle-monitor-tokens", SYSTEM_NAMESPACE)
    for line in base64.b64decode(secret.data["tokens"]).decode().splitlines():
        words = line.split()
        if len(words) == 3 and role in words[1].split(","):
            return words[2]
    raise LookupError(f"Secret {SYSTEM_NAMESPACE}/puzzle-monitor-tokens has no token with the role {role}")


def monitor_client(role: str) -> httpx.Client:
    """A client of the monitor that may do what `role` allows."""
    headers = {"Authorization": f"Bearer {monitor_token(role)}"}
    return httpx.Client(base_url=monitor_url(), headers=headers, timeout=30.0, trust_env=False)


class Inspector:
    """Labels a share of what the line sends, some seconds later, in batches. A context manager.

    A picture is labelled once, however often the line repeats it: a camera never sends the same bytes twice.

    Args:
        share: of the pictures that are looked at.
        error: share of the labels that are wrong, each another class by chance: a careless shift.
    """

    def __init__(self, classes: tuple[str, ...], share: float = 1.0, error: float = 0.0, seed: int = 0) -> None:
        self.classes, self.share, self.error = classes, share, error
        self.given = 0
        self._random = random.Random(seed)
        self._waiting: deque[Answer] = deque()
        self._known: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inspector", daemon=True)

    def __enter__(self) -> Inspector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def see(self, answer: Answer) -> None:
        """Hear of an answer; on the line's thread, so it only remembers it."""
        if answer.picture not in self._known and self._random.random() < self.share:
            self._known.add(answer.picture)
            self._waiting.append(answer)

    def _run(self) -> None:
        with monitor_client("feedback") as monitor:
            while not self._stop.is_set() or self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(500, len(self._waiting)))]
                if batch:
                    self._send(monitor, batch)
                self._stop.wait(BATCH_SECONDS)

    def _send(self, monitor: httpx.Client, batch: list[Answer]) -> None:
        now = datetime.now(UTC).isoformat()
        items = [
            {"prediction_id": answer.id, "label": self._found(answer), "who": "inspector", "at": now}
            for answer in batch
        ]
        while True:
            try:
                answered = monitor.post("/v1/feedback", json=items)
            except httpx.HTTPError:
                answered = None
            if answered is not None and answered.status_code == 200:
                self.given += len(items)
                return
            if self._stop.is_set():
                raise RuntimeError(f"{len(items)} labels were not taken: {answered and answered.text[:200]}")
            time.sleep(1.0)

    def _found(self, answer: Answer) -> str:
        if self._random.random() >= self.error:
            return answer.truth
        return self._random.choice([name for name in self.classes if name != answer.truth])
