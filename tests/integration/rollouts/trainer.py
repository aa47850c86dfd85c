"""A trainer for integration tests: what it was told as the trigger says how its run ends. Runs in a pod, with the
standard library only, under `python3 -c`."""

import json
import os
import re
import socket
import sys
import time

ARGUMENTS = sys.argv[1:]


def value(flag: str) -> str:
    return ARGUMENTS[ARGUMENTS.index(flag) + 1]


def together() -> int:
    """Of several workers: find the first one under its name; how many there are."""
    size, index = int(os.environ.get("JOB_COMPLETIONS", "1")), int(os.environ.get("JOB_COMPLETION_INDEX", "0"))
    port = int(os.environ.get("MASTER_PORT", "0"))
    if size > 1 and index == 0:
        with socket.create_server(("", port)) as server:
            for _ in range(size - 1):
                server.accept()[0].close()
    while index > 0:
        try:
            socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=2).close()
            break
        except OSError:
            time.sleep(0.5)
    return size


def main() -> int:
    """`… outcome=Accepted version=sha256:… seconds=3 …` in the trigger's text is obeyed."""
    told = dict(re.findall(r"(\w+)=(\S+)", value("--trigger")))
    if ARGUMENTS[0] != "retrain" or told.get("usage") == "wrong":
        print("this trainer does not understand its arguments")
        return 2
    workers = together()
    time.sleep(float(told.get("seconds", "1")))
    if os.environ.get("JOB_COMPLETION_INDEX", "0") != "0":
        return 0
    if told.get("outcome") == "Crash":
        print("no space left on device")
        return 1
    said = {
        "outcome": told.get("outcome", "GateRefused"),
        "version": told.get("version"),
        "message": f"champion 0.710, challenger 0.985 on 400 pieces, by {workers} workers",
        "data": {"images": 400, "new": 40, "labels": 40},
        "metrics": {"champion": 0.71, "challenger": 0.985, "p_value": 0.0001},
        "seconds": 1.0,
    }
    with open(value("--termination-log"), "w") as log:  # noqa: PTH123 - what the kubelet mounts
        log.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
