"""The process that sends records: ``python -m puzzlenet.records.process``, started by `Courier`.

It shares no interpreter lock with the network, and what it does to a picture from a stranger cannot take the server
down. It outlives a worker that is killed for as long as it takes to send what it was given.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable

from puzzlenet.records.outbox import Outbox
from puzzlenet.records.settings import LAST_WORDS_S
from puzzlenet.records.tally import Report
from puzzlenet.records.wire import frames, read_opening

# Answering comes first where there is not enough CPU for both.
_NICENESS = 5


def _reports() -> Callable[[Report], None]:
    """Writes to what is standard output now; whoever prints later does so to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(out, False)

    def say(report: Report) -> None:
        # In one piece or not at all (it is shorter than PIPE_BUF). They are totals: one that is lost costs nothing.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(out, report.line())

    return say


def _hang_up() -> None:
    """Let go of the worker's standard error: TorchServe takes its end for the end of the worker that it has now."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def main() -> None:
    """Send what comes on standard input until it ends, then what is left."""
    # What ends the server by a signal to all ends this one by the end of its input.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    os.nice(_NICENESS)
    say = _reports()
    settings, classes = read_opening(sys.stdin.buffer)
    outbox = Outbox(settings, classes, say)
    for seen in frames(sys.stdin.buffer):
        if seen is None:
            outbox.hurry()
        else:
            outbox.take(seen)
    _hang_up()
    outbox.close(LAST_WORDS_S)


if __name__ == "__main__":
    main()
