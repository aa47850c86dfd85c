"""A production line's cameras: pieces sent at a steady rate through the real ingress, every answer counted.

The load is open-loop (a piece leaves on its tick whether or not earlier answers have come), because a line
does not wait for its classifier; a closed loop would hide exactly the requests that a bad rollout delays or
loses.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

INFER_PATH = "/v2/models/puzzlenet/infer"
TIMEOUT_SECONDS = 30.0
# A line that falls this far behind is not a line any more: further ticks count as lost.
MAX_IN_FLIGHT = 256


@dataclass(frozen=True, slots=True)
class Piece:
    """One photographed piece: where its picture lies, the picture in base64, and what it truly is."""

    name: str
    image: str
    label: str

    def body(self, id: str) -> bytes:
        """The v2 request. Every photograph has an id of its own, under which the monitor keeps its record."""
        tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [self.image]}
        return json.dumps({"id": id, "inputs": [tensor]}).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What one photograph was answered, next to what it shows."""

    id: str
    picture: str
    """Which picture it is, however often that one comes along."""
    truth: str
    label: str
    version: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the requests so far.

    `answered`: 2xx. `refused`: the model itself answered with an error. `lost`: everything else (no
    connection, time-out, an error that the model did not give); a rollout must add none of these.
    """

    sent: int = 0
    answered: int = 0
    refused: int = 0
    lost: int = 0
    wrong: int = 0
    by_version: dict[str, int] = field(default_factory=dict)
    losses: tuple[str, ...] = ()

    def __sub__(self, earlier: Tally) -> Tally:
        versions = Counter(self.by_version)
        versions.subtract(earlier.by_version)
        return Tally(
            self.sent - earlier.sent,
            self.answered - earlier.answered,
            self.refused - earlier.refused,
            self.lost - earlier.lost,
            self.wrong - earlier.wrong,
            {version: count for version, count in versions.items() if count},
            self.losses[len(earlier.losses) :],
        )


def pieces_of(folder: Path, limit: int, seed: int) -> list[Piece]:
    """Up to `limit` pieces of a folder `<label>/*.png|jpg`, shuffled by `seed`."""
    files = sorted(path for path in folder.glob("*/*") if path.suffix in {".png", ".jpg", ".jpeg"})
    random.Random(seed).shuffle(files)
    return [Piece(str(path), base64.b64encode(path.read_bytes()).decode(), path.parent.name) for path in files[:limit]]


class Line:
    """Sends pieces at `rate` a second to the model's host name at the ingress, from a thread of its own.

    Use as a context manager; `tally()` may be called at any time from any thread. Leaving the context stops
    the cameras and waits for the answers still under way. `on_answer` hears of every answer, on the line's thread.
    """

    def __init__(
        self,
        ingress_url: str,
        host: str,
        pieces: Sequence[Piece],
        rate: float,
        seed: int = 0,
        on_answer: Callable[[Answer], None] | None = None,
    ):
        if not pieces:
            raise ValueError("the line has no pieces to send: the data set folder holds no PNG or JPEG")
        self._url = ingress_url.rstrip("/") + INFER_PATH
        self._host = host
        self._pieces = pieces
        self._rate = rate
        self._on_answer = on_answer
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._versions: Counter[str] = Counter()
        self._losses: list[str] = []
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    def __enter__(self) -> Line:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_SECONDS + 10)

    def show(self, pieces: Sequence[Piece]) -> None:
        """Other pieces come along the line from now on."""
        if not pieces:
            raise ValueError("the line has no pieces to send")
        self._pieces = pieces

    def tally(self) -> Tally:
        with self._lock:
            counts = self._counts
            return Tally(
                counts["sent"],
                counts["answered"],
                counts["refused"],
                counts["lost"],
                counts["wrong"],
                dict(self._versions),
                tuple(self._losses),
            )

    def _run(self) -> None:
        asyncio.run(self._send_all())

    async def _send_all(self) -> None:
        limits = httpx.Limits(max_connections=MAX_IN_FLIGHT, max_keepalive_connections=32)
        in_flight: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False) as client:
            next_tick = time.monotonic()
            while not self._stop.is_set():
                if len(in_flight) < MAX_IN_FLIGHT:
                    task = asyncio.create_task(self._send(client, self._random.choice(self._pieces)))
                    in_flight.add(task)
                    task.add_done_callback(in_flight.discard)
                else:
                    self._count_lost("the line is jammed: too many answers outstanding")
                next_tick += 1.0 / self._rate
                await asyncio.sleep(max(0.0, next_tick - time.monotonic()))
            if in_flight:
                await asyncio.wait(in_flight)

    async def _send(self, client: httpx.AsyncClient, piece: Piece) -> None:
        headers = {"Host": self._host, "Content-Type": "application/json"}
        id = str(uuid.uuid4())
        try:
            response = await client.post(self._url, content=piece.body(id), headers=headers)
            if response.is_success:
                label, version = _read_answer(response.json())
        except Exception as exc:
            # Whatever went wrong, the piece has no answer: nothing may vanish from the count.
            self._count_lost(f"{type(exc).__name__}: {exc}")
            return
        if response.is_success:
            self._count_answer(label, version, piece)
            if self._on_answer is not None:
                self._on_answer(Answer(id, piece.name, piece.label, label, version))
        elif _is_the_models_own(response):
            self._count("refused")
        else:
            self._count_lost(f"HTTP {response.status_code}: {response.text[:120]!r}")

    def _count_answer(self, label: str, version: str, piece: Piece) -> None:
        with self._lock:
            self._counts["sent"] += 1
            self._counts["answered"] += 1
            self._counts["wrong"] += label != piece.label
            self._versions[version] += 1

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._counts["sent"] += 1
            self._counts[outcome] += 1

    def _count_lost(self, why: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        with self._lock:
            self._counts["sent"] += 1
            self._counts["lost"] += 1
            if len(self._losses) < 50:
                self._losses.append(f"{stamp} {why}")


def _is_the_models_own(response: httpx.Response) -> bool:
    """Whether PuzzleNet's handler refused the piece: a 4xx with a sentence under `error`.

    TorchServe's own errors (a worker that died, a full queue) and those of the proxies before it look otherwise.
    """
    if not response.is_client_error:
        return False
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "error" in body


def _read_answer(body: dict[str, object]) -> tuple[str, str]:
    """Label and version from a v2 answer."""
    outputs = body.get("outputs")
    assert isinstance(outputs, list), f"not a v2 answer: {body}"
    values = {output["name"]: output["data"][0] for output in outputs}
    return str(values["label"]), str(body.get("model_version") or values.get("version", "?"))
