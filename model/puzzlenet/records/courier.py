"""The sending process, as the answering one holds it: given records, asked nothing, heard when it says something."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from puzzlenet.records.encode import Seen
from puzzlenet.records.settings import RecordSettings
from puzzlenet.records.tally import Report
from puzzlenet.records.wire import HURRY, frame, opening

# Not from the working folder, which is an unpacked archive here.
_COMMAND = (sys.executable, "-P", "-m", "puzzlenet.records.process")
_LOOK_S = 0.01


class Courier:
    """One process, for its whole life. Whatever finds it gone raises OSError."""

    def __init__(self, settings: RecordSettings, classes: Sequence[str]) -> None:
        self._process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin and self._process.stdout  # noqa: S101 - both are pipes, as asked for
        self._down, self._up = self._process.stdin, self._process.stdout.fileno()
        os.set_blocking(self._up, False)
        self._rest = b""
        self.report = Report()
        self._down.write(opening(settings, classes))
        self._down.flush()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def give(self, seen: Seen) -> None:
        """Hand over a record; waits, without the interpreter lock, while the process has no room for it."""
        small, picture = frame(seen)
        self._down.write(small)
        if picture:
            self._down.write(picture)
        self._down.flush()

    def hurry(self) -> None:
        """Have it send what waits."""
        self._down.write(HURRY)
        self._down.flush()

    def hear(self) -> None:
        """Read what it has said, and keep the last of it in ``report``. Raises EOFError when it has ended."""
        while True:
            try:
                said = os.read(self._up, 65_536)
            except BlockingIOError:
                return
            if not said:
                raise EOFError("the process has ended")
            *lines, self._rest = (self._rest + said).split(b"\n")
            if lines:
                self.report = Report.read(lines[-1])

    def end(self, timeout: float) -> None:
        """Give it nothing more, hear it until it has ended, at most so many seconds, and let go of it."""
        deadline = time.monotonic() + timeout
        with contextlib.suppress(OSError, EOFError):
            self._down.close()
            while time.monotonic() < deadline:
                self.hear()
                time.sleep(_LOOK_S)
        self.drop()

    def drop(self) -> None:
        """Have nothing more to do with it; it ends when it finds out."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._process.poll()
