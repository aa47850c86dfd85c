"""Group commit: whoever waits at the same time is written in one transaction, and answered after it is durable.

A durable commit costs one flush of the disk, whether it holds one record or a thousand. While one transaction is being
flushed the next requests gather; so the busier it is, the larger the groups, without a delay when it is not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from puzzle_monitor.core.work import Outcomes, Work, merge, split
from puzzle_monitor.ports import Unavailable
from puzzle_monitor.service.telemetry import Telemetry

log = logging.getLogger("puzzle_monitor")
MAX_GROUP = 4_000
"""Items of one transaction; a single request may hold more."""
_Waiting = tuple[Work, "Future[Outcomes]"]


class GroupCommit:
    """The one thread that writes."""

    def __init__(self, write: Callable[[Work], Outcomes], telemetry: Telemetry, max_waiting: int = 50_000) -> None:
        self._write = write
        self._telemetry = telemetry
        self._max_waiting = max_waiting
        self._queue: deque[_Waiting] = deque()
        self._items = 0
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether somebody writes at all."""
        return self._thread.is_alive()

    def submit(self, work: Work) -> Future[Outcomes]:
        """Have something written; the future is done when it is on disk, or never will be.

        Raises:
            Unavailable: if too much waits already, or the monitor is going down.
        """
        future: Future[Outcomes] = Future()
        with self._wake:
            if self._stopping or not self._thread.is_alive():
                raise Unavailable("the monitor is going down")
            if self._items and self._items + work.size > self._max_waiting:
                raise Unavailable(f"{self._items:,} items wait to be written; send again later", retry_after=1.0)
            self._queue.append((work, future))
            self._items += work.size
            self._telemetry.waiting(self._items)
            self._wake.notify()
        return future

    def _run(self) -> None:
        while (group := self._next()) is not None:
            if group:
                self._commit(group)

    def _next(self) -> list[_Waiting] | None:
        """What waits, up to a group's size; None when it is time to end."""
        with self._wake:
            while not self._queue and not self._stopping:
                self._wake.wait()
            if not self._queue:
                return None
            group: list[_Waiting] = []
            size = 0
            while self._queue and (not size or size + self._queue[0][0].size <= MAX_GROUP):
                work, future = self._queue.popleft()
                size += work.size
                # Whoever does not wait any more was told nothing, and may send it again.
                if future.set_running_or_notify_cancel():
                    group.append((work, future))
            self._items -= size
            self._telemetry.waiting(self._items)
            return group

    def _commit(self, group: list[_Waiting]) -> None:
        works = [work for work, _ in group]
        started = time.monotonic()
        try:
            outcomes = self._write(merge(works))
        except Unavailable as outage:
            log.warning("%d requests could not be written: %s", len(group), outage)
            for _, future in group:
                future.set_exception(outage)
            return
        except Exception as error:
            self._telemetry.failed("commit")
            log.exception("a group of %d requests could not be written", len(group))
            self._one_by_one(group, error)
            return
        self._telemetry.wrote(time.monotonic() - started, outcomes)
        for (_, future), mine in zip(group, split(outcomes, works), strict=True):
            future.set_result(mine)

    def _one_by_one(self, group: list[_Waiting], error: Exception) -> None:
        """One request that the database cannot take must not fail those that waited beside it."""
        if len(group) == 1:
            group[0][1].set_exception(error)
            return
        for one in group:
            self._commit([one])
