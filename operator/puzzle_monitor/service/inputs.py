"""Input health as it is asked for: judged up to the last minute that is over, by whoever asks first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from puzzle_monitor.core.feeds.digest import MINUTE
from puzzle_monitor.core.feeds.health import Verdict, parse, verdict
from puzzle_monitor.core.stored import Feed
from puzzle_monitor.core.times import micros
from puzzle_monitor.ports import Store, Unavailable
from puzzle_monitor.service.telemetry import Telemetry

log = logging.getLogger("puzzle_monitor")


class Inputs:
    """Judges feeds at most once a minute."""

    def __init__(self, store: Store, clock: Callable[[], datetime], telemetry: Telemetry) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry
        self._started = micros(clock())
        self._judged = 0
        self._lock = threading.Lock()

    def catch_up(self) -> None:
        """Judge what is not judged yet. An outage puts it off: what was found before is told meanwhile."""
        now = micros(self._clock())
        if self._judged >= now // MINUTE or not self._lock.acquire(blocking=False):
            return
        try:
            self._store.judge(now)
            self._judged = now // MINUTE
        except Unavailable as outage:
            log.warning("input health is not judged now: %s", outage)
        except Exception:
            # Counters decide about canaries: they must not go away because of this.
            self._telemetry.failed("health")
            log.exception("input health cannot be judged")
        finally:
            self._lock.release()

    def verdict(self, feed: Feed) -> Verdict:
        """The health of a feed now."""
        health = parse(feed.health) if feed.health else None
        return verdict(health, feed.images, feed.last_received, micros(self._clock()), self._started)
