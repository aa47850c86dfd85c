"""Process 1 of the serving container: starts TorchServe and lets it finish what it has begun.

On SIGTERM the pod is still listed as an endpoint somewhere for a moment, and TorchServe cuts open requests off
when it stops and kills its worker. So the server goes on for the drain time, then for as long as it takes to answer
what is queued, then for a moment until the last predictions are recorded, and is stopped then. The standard library
only, and run with ``python -I``: this process lives as long as the pod, next to the memory of the model.
"""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

# TorchServe calls itself healthy while its worker is still loading. A probe that goes through the worker, a GET of
# this path with this header, is answered only once the model is loaded and warm.
PROBE_PATH = "/predictions/puzzlenet"
PROBE_HEADER = "Puzzlenet-Probe"
# The probe's value at the end: the answer then says how many records the monitor does not have yet.
DRAIN = "drain"
_RECORDS_S = 3.0


def supervise(command: list[str], *, drain: float, grace: float, port: int) -> int:
    """Run a command to its end and return its exit status; 0 when a signal asked for the end.

    ``drain`` and ``grace`` are seconds: how long to go on for certain, and how long to wait for the queue and,
    again, for the server to end. ``port`` is where the server answers on loopback.
    """
    asked = threading.Event()

    def ask(_signum: int, _frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    child = subprocess.Popen(command)
    while not asked.is_set():
        # Waits for both the child and a signal; a pod's end is not delayed by more than this.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(timeout=0.2)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.wait(timeout=drain)
    if wait_for_queue(port, grace):
        wait_for_records(port, _RECORDS_S)
    child.terminate()
    try:
        child.wait(timeout=grace)
    except subprocess.TimeoutExpired:
        print("puzzlenet: TorchServe did not stop in time and is killed", file=sys.stderr, flush=True)
        child.kill()
        child.wait()
    return 0


def wait_for_queue(port: int, timeout: float) -> int:
    """Wait until everything that was asked before has been answered, at most ``timeout`` seconds.

    There is one worker and one queue, first in first out: once a probe that went through it is answered, so is
    all that came before. A server that does not answer at all has nothing that could be waited for.
    Returns how many records of predictions are still to be sent.
    """
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", PROBE_PATH, headers={PROBE_HEADER: DRAIN})
        return int(json.loads(connection.getresponse().read()).get("pending", 0))
    except (OSError, http.client.HTTPException, ValueError, AttributeError, TypeError):
        return 0
    finally:
        connection.close()


def wait_for_records(port: int, timeout: float) -> None:
    """Wait until the monitor has every record, at most ``timeout`` seconds: it may be down, and the pod must go."""
    deadline = time.monotonic() + timeout
    while left := wait_for_queue(port, max(0.1, deadline - time.monotonic())):
        if time.monotonic() >= deadline:
            print(f"puzzlenet: {left} records of predictions are lost with this pod", file=sys.stderr, flush=True)
            return
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[4:], drain=float(sys.argv[1]), grace=float(sys.argv[2]), port=int(sys.argv[3])))
