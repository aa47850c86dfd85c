"""Forgetting what is old: pictures first, then rows, a few hundred at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from puzzle_monitor.core.stored import Pruned
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import ImageMark
from puzzle_monitor.ports import ImageStore, Store, Unavailable
from puzzle_monitor.service.telemetry import Telemetry

log = logging.getLogger("puzzle_monitor")
_STEP = 500
_PAUSE_S = 0.02
"""Between steps, so that whoever writes gets the lock."""
MINUTES_KEPT = timedelta(days=2)
"""Of input health: what is usual on a line is kept apart from them."""


class Retention:
    """Deletes predictions that are older than `keep`, with their labels and pictures. Counts stay."""

    def __init__(
        self,
        store: Store,
        images: ImageStore,
        keep: timedelta,
        clock: Callable[[], datetime],
        telemetry: Telemetry | None = None,
    ) -> None:
        self._store, self._images, self._keep, self._clock = store, images, keep, clock
        self._telemetry = telemetry

    @property
    def cutoff(self) -> int:
        """What is older than this goes, in microseconds."""
        return micros(self._clock() - self._keep)

    @property
    def _minutes_cutoff(self) -> int:
        return max(self.cutoff, micros(self._clock() - MINUTES_KEPT))

    def preview(self) -> Pruned:
        """How much would go. Blocks."""
        return self._store.count_old(self.cutoff, self._minutes_cutoff)

    def prune(self) -> Pruned:
        """Delete it. Blocks; may be interrupted anywhere and begun again.

        Pictures go before their rows: the other way round, an interruption would leave pictures that nothing
        names.
        """
        cutoff, gone = self.cutoff, Pruned()
        while rows := self._store.old(cutoff, _STEP):
            pictures = [ImageMark(one, digest) for _, one, digest in rows if digest is not None]
            if pictures:
                self._images.delete(pictures)
            gone += self._store.delete([seq for seq, _, _ in rows])
            time.sleep(_PAUSE_S)
        while (left := self._store.delete_leftovers(cutoff, _STEP)) != Pruned():
            gone += left
            time.sleep(_PAUSE_S)
        minutes = self._minutes_cutoff
        while (left := self._store.delete_states(cutoff, minutes, _STEP)) != Pruned():
            gone += left
            time.sleep(_PAUSE_S)
        if self._telemetry:
            self._telemetry.pruned(gone)
        return gone

    async def forever(self, interval: float) -> None:
        """Prune every `interval` seconds until cancelled."""
        while True:
            try:
                gone = await asyncio.to_thread(self.prune)
                if gone != Pruned():
                    log.info(
                        "pruned %d predictions, %d labels, %d images, %d minutes",
                        gone.predictions,
                        gone.feedback,
                        gone.images,
                        gone.minutes,
                    )
            except Unavailable as outage:
                log.warning("pruning is put off: %s", outage)
            except Exception:
                if self._telemetry:
                    self._telemetry.failed("retention")
                log.exception("pruning failed")
            await asyncio.sleep(interval)
