"""Where the workers of one run meet: before training begins, and again after one of them was lost.

Worker 0 keeps a key-value store (torch's TCPStore) for as long as it trains, and calls one round after another. In a
round every worker that is there knocks again and again, so that worker 0 knows who is alive; when all are there, or
its patience ends, it says who takes part. These make a process group under keys of that round alone, so that nothing
of a pod that was lost is ever waited for. Since the result does not depend on how many take part (ADR 0015), a run
goes on with those who came.
"""

import json
import logging
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from puzzlenet.errors import AwayError, PuzzleNetError, WorkerLostError
from puzzlenet.team import ALONE, Team

log = logging.getLogger("puzzlenet")

_PORT = 29500
_KNOCK = 0.5  # seconds between two knocks
_FRESH = 5.0  # who has not knocked for so long is not there
# A worker that dies is noticed at once, by its closed connection. One whose node vanishes is noticed after this; the
# longest silence of one that lives is a store that is away while worker 0 keeps a checkpoint, and tells of progress.
_SILENCE = timedelta(minutes=10)
_ANSWER = timedelta(seconds=30)  # for one word of the store's


class GroupGoneError(AwayError):
    """The process group broke, and this process cannot make another one: it has to be started again."""


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's number among its like, and where worker 0 is found."""

    index: int = 0
    size: int = 1
    host: str = "localhost"
    port: int = _PORT

    @property
    def first(self) -> bool:
        """Whether this worker prepares, decides and writes."""
        return self.index == 0


def place_of(environment: Mapping[str, str]) -> Place:
    """The place that an Indexed Job gives a pod; alone where nothing is said. Raises PuzzleNetError with the variable.

    JOB_COMPLETION_INDEX is Kubernetes's; JOB_COMPLETIONS, MASTER_ADDR and MASTER_PORT stand in the Job's template.
    """
    index = _number(environment, "RANK", "JOB_COMPLETION_INDEX")
    size = _number(environment, "WORLD_SIZE", "JOB_COMPLETIONS")
    if index is None and size is None:
        return Place()
    if index is None or size is None:
        missing = "JOB_COMPLETION_INDEX" if index is None else "JOB_COMPLETIONS"
        raise PuzzleNetError(f"{missing} is not set; a worker has to know its number and how many there are")
    if not index < size:
        raise PuzzleNetError(f"worker {index} of {size} cannot be; workers are numbered from 0")
    host = environment.get("MASTER_ADDR")
    if size > 1 and not host:
        raise PuzzleNetError("MASTER_ADDR is not set; it names the host of worker 0")
    port = _number(environment, "MASTER_PORT", "MASTER_PORT")
    return Place(index, size, host or "localhost", _PORT if port is None else port)


def _number(environment: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        if text := environment.get(name):
            if not text.isdecimal():
                raise PuzzleNetError(f"{name} is '{text}', which is no number")
            return int(text)
    return None


class Meeting(Protocol):
    """How one worker gets into the team that trains."""

    def meet(self, *, alone: bool = False) -> AbstractContextManager[Team]:
        """Wait for the others, be of their team, part from them. Raises WorkerLostError, within the block too.

        ``alone`` goes on without them.
        """


class Solitary:
    """The meeting of a run that has one worker."""

    @contextmanager
    def meet(self, *, alone: bool = True) -> Iterator[Team]:
        """A team of one, at once."""
        del alone
        yield ALONE


class Host:
    """Worker 0's side. ``patience`` is how many seconds workers that are missing are waited for, in each round."""

    def __init__(self, place: Place, device: torch.device, patience: float) -> None:
        self._place, self._device, self._patience = place, device, patience
        self._store: TCPStore | None = None
        self._round = 0

    @contextmanager
    def meet(self, *, alone: bool = False) -> Iterator[Team]:
        """Call a round, and train with those who came."""
        store = self._store = self._store or self._listen()
        self._round += 1
        store.set("round", str(self._round))
        came = {} if alone else self._gather(store)
        store.set(f"{self._round}/members", json.dumps(came))
        log.info("round %d: %d of %d workers take part", self._round, 1 + len(came), self._place.size)
        if not came:
            yield ALONE
            return
        with _group(store, self._round, 0, 1 + len(came), self._device) as team:
            yield team

    def _listen(self) -> TCPStore:
        try:
            return TCPStore("localhost", self._place.port, is_master=True, wait_for_workers=False, timeout=_ANSWER)
        except (dist.DistError, RuntimeError) as exc:
            message = f"port {self._place.port} (MASTER_PORT) cannot be listened on: {exc}"
            raise AwayError(message) from exc

    def _gather(self, store: TCPStore) -> dict[str, str]:
        """The token of each worker that knocks, by its number. Whoever computes on another device cannot take part."""
        until = time.monotonic() + self._patience
        last: dict[int, tuple[str, float]] = {}
        while True:
            now = time.monotonic()
            for index in range(1, self._place.size):
                key = _door(self._round, self._device, index)
                knock = store.get(key).decode() if store.check([key]) else ""
                if knock and knock != last.get(index, ("", 0.0))[0]:
                    last[index] = (knock, now)
            came = {str(i): knock.split()[0] for i, (knock, at) in sorted(last.items()) if now - at < _FRESH}
            if len(came) == self._place.size - 1 or now >= until:
                return came
            time.sleep(_KNOCK)


class Guest:
    """The side of every other worker."""

    def __init__(self, place: Place, device: torch.device) -> None:
        self._place, self._device = place, device

    @contextmanager
    def meet(self, *, alone: bool = False) -> Iterator[Team]:
        """Be of the next round's team. WorkerLostError: worker 0 is not there, or trains without this one."""
        del alone
        store = self._connect()
        with _peers():
            number = int(store.get("round"))
            members = self._knock(store, number)
        if members is None:
            raise WorkerLostError("worker 0 trains without this one: the next round is waited for")
        rank, size = members
        with _group(store, number, rank, size, self._device) as team:
            yield team

    def _connect(self) -> TCPStore:
        try:  # torch would try for long, and let no signal through
            socket.create_connection((self._place.host, self._place.port), timeout=5.0).close()
        except OSError as exc:
            message = f"worker 0 does not listen on {self._place.host}:{self._place.port} yet ({exc})"
            raise WorkerLostError(message) from exc
        with _peers():
            return TCPStore(
                self._place.host, self._place.port, is_master=False, wait_for_workers=False, timeout=_ANSWER
            )

    def _knock(self, store: TCPStore, number: int) -> tuple[int, int] | None:
        """Knock until the round has its members; this one's rank and their number, None where it is not among them.

        The token is new each time: what a pod that was lost, or an earlier try, was let in for is not taken up.
        """
        token, count = uuid.uuid4().hex, 0
        while not store.check([f"{number}/members"]):
            count += 1
            store.set(_door(number, self._device, self._place.index), f"{token} {count}")
            time.sleep(_KNOCK)
        came: dict[str, str] = json.loads(store.get(f"{number}/members"))
        if came.get(str(self._place.index)) != token:
            return None
        return 1 + sorted(map(int, came)).index(self._place.index), 1 + len(came)


def _door(number: int, device: torch.device, index: int) -> str:
    return f"{number}/{device.type}/{index}"


@contextmanager
def _group(store: TCPStore, number: int, rank: int, size: int, device: torch.device) -> Iterator[Team]:
    """The process group of one round."""
    gpu, broken = device.type == "cuda", False
    try:
        with _peers():
            dist.init_process_group(
                "nccl" if gpu else "gloo",
                store=PrefixStore(f"{number}/group", store),
                rank=rank,
                world_size=size,
                timeout=_SILENCE,
            )
        yield Team(rank, size)
    except WorkerLostError as exc:
        broken = gpu
        if broken:  # NCCL would wait for peers that are gone
            raise GroupGoneError(f"{exc}; NCCL needs a new process") from exc
        raise
    finally:
        if dist.is_initialized() and not broken:
            dist.destroy_process_group()


@contextmanager
def _peers() -> Iterator[None]:
    """Other processes may go away at any time; that is nobody's bug."""
    try:
        yield
    except (dist.DistError, RuntimeError) as exc:
        raise WorkerLostError(f"another worker of this run cannot be reached ({exc})") from exc
