"""One line for each stage with its time, and before a long stage how long it is expected to take."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_print_lock = threading.Lock()
_began = time.monotonic()

ANNOUNCE_FROM_S = 8.0


def spell(seconds: float) -> str:
    """Seconds as a person would say them: 4.2 s, 48 s, 3 min 05 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def say(text: str) -> None:
    """One progress line on standard error, with the time since the program began."""
    with _print_lock:
        elapsed = time.monotonic() - _began
        print(f"[{int(elapsed) // 60:3d}:{int(elapsed) % 60:02d}] {text}", file=sys.stderr, flush=True)


@contextmanager
def stage(name: str, expected_s: float = 0.0) -> Iterator[None]:
    """Report a stage: an announcement when it is expected to be long, its time at the end, its failure."""
    if expected_s >= ANNOUNCE_FROM_S:
        say(f"....  {name} (about {spell(expected_s)})")
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"FAIL  {name} after {spell(time.monotonic() - began)}")
        raise
    say(f"ok    {name} in {spell(time.monotonic() - began)}")
