"""When a request has just been answered, so that work beside serving can go into the gap before the next.

Python runs one thread at a time. Work of another thread that begins while a request is answered has the network wait
for it before each layer that follows. A piece of work that begins with a gap is over before the next request comes,
unless pieces come all at once; so there is one for each gap, and nobody goes on until somebody has to wait.
"""

import threading
import time
from types import TracebackType

# Long enough for the answer to be on its way, short against the pause between two requests of a busy line.
SETTLE_S = 0.001


class Traffic:
    """Entered by the one thread that answers, for as long as it answers; waited on by others."""

    def __init__(self) -> None:
        self._begun = 0
        self._used = -1  # the last request whose gap was given away
        self._busy = False
        self._ended = threading.Event()

    def __enter__(self) -> None:
        self._begun += 1
        self._busy = True

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._busy = False
        self._ended.set()

    def gap(self, longest: float) -> None:
        """Return `SETTLE_S` after an answer, for one piece of work.

        After ``longest`` seconds return all the same: requests leave no gap, or there are none.
        """
        deadline = time.monotonic() + longest
        while True:
            self._ended.clear()
            before = self._begun
            time.sleep(SETTLE_S)
            if not self._busy and self._begun == before != self._used:
                self._used = before
                return
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._ended.wait(left)
