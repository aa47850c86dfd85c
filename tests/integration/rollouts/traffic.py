"""A steady line of requests to one model through the real ingress, counted by the version that answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Self

import httpx

RATE = 15.0


class Traffic:
    """Sends `RATE` requests a second from a few threads until it is left."""

    def __init__(self, ingress: str, host: str) -> None:
        self._client = httpx.Client(base_url=ingress, headers={"Host": host}, timeout=15.0)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(6)]
        self.headers: dict[str, str] = {}
        """Sent with every request; a test may change them at any time."""
        self.answered: Counter[str] = Counter()
        self._lost: list[tuple[float, str]] = []

    @property
    def lost(self) -> Counter[str]:
        """Everything that no version answered with 200, by what came back."""
        return self.lost_since(0.0)

    def lost_since(self, moment: float) -> Counter[str]:
        """The same of the requests sent after `moment` (`time.monotonic()`). One that was sent before it may wait in
        vain for 15 s and be lost after it."""
        with self._lock:
            return Counter(outcome for sent, outcome in self._lost if sent >= moment)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """The line stands still. May be called twice."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=20)
        self._client.close()

    def _send(self, number: int) -> None:
        pause = len(self._threads) / RATE
        time.sleep(pause * number / len(self._threads))
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                answer = self._client.post("/v2/models/puzzlenet/infer", json={}, headers=self.headers)
                outcome = str(answer.status_code)
                version = str(answer.json().get("version")) if answer.status_code == 200 else ""
            except (httpx.HTTPError, ValueError) as exc:
                outcome, version = type(exc).__name__, ""
            with self._lock:
                if version:
                    self.answered[version] += 1
                else:
                    self._lost.append((began, outcome))
            self._stop.wait(max(0.0, pause - (time.monotonic() - began)))

    def wait_for_answers(self, seconds: float = 30.0) -> None:
        """Until the first version answers."""
        deadline = time.monotonic() + seconds
        while not self.answered:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer through the ingress in {seconds:.0f} s: {dict(self.lost)}")
            time.sleep(0.2)
