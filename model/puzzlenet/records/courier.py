"""The sending process, as the answering one holds it: given records, asked nothing, heard when it says something."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence

from puzzlenet.records.settings import RecordSettings
from puzzlenet.records.tally import Report
from puzzlenet.records.wire import HURRY, opening

_COMMAND = (sys.executable, "-m", "puzzlenet.records.process")
# A process that takes nothing for so long is stuck: it does nothing but take, on the thread that takes.
PATIENCE_S = 10.0
_LOOK_S = 0.01


class Courier:
    """One process, for its whole life. Whoever finds it gone or stuck gets OSError or EOFError."""

    def __init__(self, settings: RecordSettings, classes: Sequence[str]) -> None:
        self._process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdin and self._process.stdout  # noqa: S101 - both are pipes, as asked for
        self._down, self._up = self._process.stdin, self._process.stdout
        for pipe in (self._down, self._up):
            os.set_blocking(pipe.fileno(), False)
        self._room = select.poll()
        self._room.register(self._down, select.POLLOUT)
        self._rest = b""
        self.report = Report()
        self._write(opening(settings, classes))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def give(self, parts: Sequence[bytes]) -> None:
        """Hand over the parts of a frame; waits, without the interpreter lock, while there is no room for them."""
        for part in parts:
            self._write(part)

    def hurry(self) -> None:
        """Have it send what waits."""
        self._write(HURRY)

    def hear(self) -> None:
        """Read what it has said, and keep the last of it in ``report``. Raises EOFError when it has ended."""
        while True:
            try:
                said = os.read(self._up.fileno(), 65_536)
            except BlockingIOError:
                return
            if not said:
                raise EOFError("it has ended")
            *lines, self._rest = (self._rest + said).split(b"\n")
            if lines:
                self.report = Report.read(lines[-1])

    def end(self, timeout: float) -> None:
        """Give it nothing more, and hear it until it has ended, at most so many seconds."""
        deadline = time.monotonic() + timeout
        self._down.close()
        with contextlib.suppress(EOFError):
            while time.monotonic() < deadline:
                self.hear()
                time.sleep(_LOOK_S)

    def drop(self, *, kill: bool) -> None:
        """Have nothing more to do with it. It ends by itself when it finds out, or at once."""
        if kill:
            self._process.kill()
        self._down.close()
        self._up.close()
        self._process.poll()

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            if not self._room.poll(1e3 * PATIENCE_S):
                raise TimeoutError(f"it has taken nothing for {PATIENCE_S:g} s")
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(self._down.fileno(), left) :]
