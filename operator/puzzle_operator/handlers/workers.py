"""One worker to a model: passes never overlap, and an event wakes the worker at once.

kopf's own daemons would do nearly the same, but they hold a finalizer on the object: a PuzzleModel could then
not be deleted while the operator is down. Nothing here needs a finalizer, because everything that a model
made belongs to it by owner reference. So kopf watches, and these workers work (docs/adr/0001).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from puzzle_operator.ports import Conflict, Unavailable

from .telemetry import Telemetry

log = logging.getLogger("puzzle_operator")
Pass = Callable[[str, str], Awaitable[float | None]]
PASS_TIMEOUT = 120.0
"""Seconds after which a pass is given up; every call within has a shorter timeout of its own."""
SLOWEST_RETRY = 60.0


@dataclass
class _Worker:
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Workers:
    """Starts, wakes and stops workers. Lives in one event loop."""

    def __init__(self, make_pass: Pass, telemetry: Telemetry) -> None:
        self._make_pass = make_pass
        self._telemetry = telemetry
        self._workers: dict[tuple[str, str], _Worker] = {}

    def wake(self, namespace: str, name: str) -> None:
        """Have a pass made soon: now, or right after the one that runs."""
        key = (namespace, name)
        worker = self._workers.get(key)
        if worker is None:
            worker = self._workers[key] = _Worker()
            worker.task = asyncio.get_running_loop().create_task(self._work(key, worker), name=f"{namespace}/{name}")
        worker.woken.set()

    @property
    def count(self) -> int:
        """Models that have a worker."""
        return len(self._workers)

    async def stop(self) -> None:
        """End all workers. A pass that is cut off is made again after the next start."""
        tasks = [worker.task for worker in self._workers.values() if worker.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._workers.clear()

    async def _work(self, key: tuple[str, str], worker: _Worker) -> None:
        failures = 0
        while True:
            worker.woken.clear()
            delay, failures = await self._once(key, failures)
            if delay is None and not worker.woken.is_set():
                del self._workers[key]
                return
            try:
                await asyncio.wait_for(worker.woken.wait(), delay or 0.0)
            except TimeoutError:
                continue

    async def _once(self, key: tuple[str, str], failures: int) -> tuple[float | None, int]:
        """One pass; the delay until the next, and how many have failed in a row."""
        name, began = "/".join(key), time.monotonic()
        try:
            async with asyncio.timeout(PASS_TIMEOUT):
                delay = await self._make_pass(*key)
        except Conflict as exc:
            log.debug("%s: %s", name, exc)
            return exc.retry_after, failures
        except Unavailable as exc:
            self._telemetry.failed("unavailable")
            log.warning("%s: %s; nothing is decided until it does", name, exc)
            return min(SLOWEST_RETRY, exc.retry_after * 2**failures), min(failures + 1, 6)
        except Exception:
            self._telemetry.failed("error")
            log.exception("%s: a pass failed; it is made again", name)
            return min(SLOWEST_RETRY, 2.0**failures * random.uniform(1.0, 1.5)), min(failures + 1, 6)  # noqa: S311
        self._telemetry.passed(time.monotonic() - began)
        return delay, 0
