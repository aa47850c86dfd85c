"""A clock that does not jump when the machine's does.

Deadlines, steps, bakes, cooldowns and schedules are times of the wall clock, because they must outlive the operator's
process. A wall clock that goes hours ahead for a moment would end them all at once, and one that goes back would hold
them for hours. So this one goes with the monotonic clock, and makes up slowly for what it differs from the wall clock:
for an hour in ten. A new process believes the wall clock as it finds it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

log = logging.getLogger("puzzle_operator")
_RATE = 0.1
_WORTH_TELLING_S = 60.0


class SteadyClock:
    """Call it for the time. Not for several threads."""

    def __init__(self, wall: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._at, self._mark = wall(), monotonic()
        self._behind = 0.0

    def __call__(self) -> datetime:
        mark = self._monotonic()
        elapsed = mark - self._mark
        behind = (self._wall() - self._at).total_seconds() - elapsed
        if abs(behind - self._behind) > _WORTH_TELLING_S:
            log.warning("the wall clock jumped: it is %+.0f s off the operator's, which follows slowly", behind)
        made_up = max(-_RATE * elapsed, min(_RATE * elapsed, behind))
        self._at += timedelta(seconds=elapsed + made_up)
        self._mark, self._behind = mark, behind - made_up
        return self._at
