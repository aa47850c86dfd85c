"""What recording predictions costs serving: off, on, and on while the monitor is slow or down, side by side.

    python benchmarks/records.py [--servers up slow down none] [--restarts 2] [--rounds 20] [--requests 600]
                                 [--rate 100] [--seed 1] [--json]

Two processes of the same code differ by more than recording costs, for as long as they run. So what is compared is one
process with itself: TorchServes of one version run, one whose monitor takes records, one whose monitor takes 3 s for
each answer, one whose monitor is down and one that has none, and blocks of requests that are recorded take turns with
blocks that are not (header Puzzlenet-Replay: such a request is neither recorded nor counted by class; what the counting
costs is the difference of the server that has no monitor). There are two blocks of that kind in each round: recorded
ones are held against both together, and how far they are from each other is what such a comparison can tell at all. The
order is drawn anew in every round, so that what else the machine does falls on all alike; one request at a time, so
that one stall of the machine is one slow answer. A block takes several seconds, because records are sent once a second:
what is sent after the block's end is in no answer's time. Not in the difference: the network's embedding, which a
server that records computes for every request (0.04 ms, docs/model.md).

Two ratios of the p99: of all requests together, with a bootstrap over starts and over rounds within, and round by
round, the Hodges-Lehmann centre of the rounds' own ratios (the median of the means of all pairs: Hodges and Lehmann,
1963, Ann. Math. Statist. 34), which a bad minute of the machine hardly moves and which needs a third fewer rounds than
their median for the same interval; the verdict is on the latter, for each server and for all of them. The CPU time of
each server, which hardly depends on what else runs, stands beside the quantiles. On a machine that is busy otherwise
run it as `chrt -r 5 python benchmarks/records.py` (root): it then runs before everything else. The model is hardly
trained and so unsure of nearly everything: as many pictures are sent as the recorder's rate allows, which a good model
comes nowhere near.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from puzzlenet.dataset import open_dataset
from puzzlenet.fit import TrainConfig
from puzzlenet.generate import Order, generate
from puzzlenet.package import package
from puzzlenet.replay import REPLAY_HEADER
from puzzlenet.train import train
from tests.integration.test_torchserve import Server, start, stop

ROOT = Path(__file__).resolve().parents[1]
Floats = NDArray[np.float64]
SERVERS = ("up", "slow", "down", "none")
SLOWNESS_S = 3.0
BAR = 1.02


@dataclass
class Arm:
    """One way to ask and what was measured of it: milliseconds by start and round, CPU seconds of the processes."""

    name: str
    server: str
    recorded: bool
    rounds: list[list[Floats]] = field(default_factory=list)
    cpu: float = 0.0

    @property
    def blocks(self) -> list[Floats]:
        """Of all starts, in order."""
        return [one for start in self.rounds for one in start]

    @property
    def answered(self) -> int:
        """Requests."""
        return sum(len(one) for one in self.blocks)


def all_arms(servers: list[str]) -> list[Arm]:
    """Of each server: not recorded, which the others are held against, recorded, not recorded once more."""
    kinds = (("off", False), ("on", True), ("off too", False))
    return [Arm(f"{server}, {kind}", server, recorded) for server in servers for kind, recorded in kinds]


def bases(arm: Arm, arms: list[Arm]) -> list[Arm]:
    """What an arm is held against: recorded requests against all others of their server, these against the first."""
    others = [other for other in arms if other.server == arm.server and not other.recorded]
    return others if arm.recorded else others[:1]


def quantile(arms: list[Arm], q: float, picked: list[tuple[int, int]]) -> float:
    """Over the requests of the picked (start, round) of all these."""
    return float(np.quantile(np.concatenate([arm.rounds[one][each] for arm in arms for one, each in picked]), q))


def block(server: Server, bodies: list[bytes], rate: float, *, recorded: bool) -> Floats:
    """Send the requests at the rate, or as fast as they are answered, and return the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Content-Type": "application/json"} | ({} if recorded else {REPLAY_HEADER: "1"})
    took = np.empty(len(bodies))
    begin = time.perf_counter()
    for index, body in enumerate(bodies):
        time.sleep(max(0.0, begin + index / rate - time.perf_counter()))
        sent = time.perf_counter()
        connection.request("POST", "/v2/models/puzzlenet/infer", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, f"{answer.status} from {server.port}"
        took[index] = 1e3 * (time.perf_counter() - sent)
    connection.close()
    return took


def requests(pieces: list[bytes], count: int, name: str) -> list[bytes]:
    """So many requests, each with an id of its own."""
    bodies = []
    for index in range(count):
        data = [base64.b64encode(pieces[index % len(pieces)]).decode()]
        tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": data}
        bodies.append(json.dumps({"id": f"{name}-{index}", "inputs": [tensor]}).encode())
    return bodies


def server_cpu(server: Server) -> float:
    """CPU seconds so far of everything below the server: Java, the worker with the network, the thread beside it."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        pid = int(path.parent.name)
        parents[pid] = int(fields[1])
        seconds[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    below = {server.process.pid}
    for _ in range(3):
        below |= {pid for pid, parent in parents.items() if parent in below}
    return sum(seconds[pid] for pid in below)


def make_version(folder: Path) -> tuple[Path, list[bytes]]:
    """A version of the real size, hardly trained: how long an answer takes does not depend on what it says."""
    generate(Order(profile="line-1", count=60, seed=5, format="mixed"), folder / "pieces")
    train(open_dataset(folder / "pieces"), folder / "run", TrainConfig(epochs=1))
    package(folder / "run", folder / "version")
    return folder / "version", [path.read_bytes() for path in sorted((folder / "pieces").glob("*/*.*"))]


@contextmanager
def servers(version: Path, folder: Path, order: list[str]) -> Iterator[dict[str, Server]]:
    """The servers, started in this order, ready."""
    with ExitStack() as stack:
        ports = {name: _free_port() for name in SERVERS if name != "none"}
        for name, slowness in (("up", 0.0), ("slow", SLOWNESS_S)):
            # It stands for the monitor, which is on another machine: its work is no cost of serving, so it gives way.
            command = ["chrt", "--idle", "0", sys.executable, "-m", "tests.receiver", str(ports[name]), str(slowness)]
            receiver = subprocess.Popen(command, cwd=ROOT)
            stack.callback(receiver.wait)
            stack.callback(receiver.terminate)
        found = {}
        for name in order:
            os.environ["PUZZLE_MONITOR_URL"] = f"http://127.0.0.1:{ports[name]}" if name in ports else ""
            found[name] = start(version, folder / name)
            stack.callback(stop, found[name])
        yield found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def measure(
    arms: list[Arm], running: dict[str, Server], pieces: list[bytes], options: argparse.Namespace, start: int
) -> None:
    """Fill the arms with the rounds of one start."""
    rng = np.random.default_rng((options.seed, start))
    for arm in arms:
        bodies = requests(pieces, options.requests, f"warm-{arm.name}-{start}")
        block(running[arm.server], bodies, options.rate, recorded=arm.recorded)
        arm.rounds.append([])
    for number in range(options.rounds):
        for index in rng.permutation(len(arms)):
            arm = arms[index]
            server = running[arm.server]
            before = server_cpu(server)
            bodies = requests(pieces, options.requests, f"{arm.name}-{start}-{number}")
            arm.rounds[-1].append(block(server, bodies, options.rate, recorded=arm.recorded))
            # What a block leaves to be sent belongs to that block and must not fall on the next.
            time.sleep(1.2)
            arm.cpu += server_cpu(server) - before


def ratio(arm: Arm, held: list[Arm], q: float, seed: int) -> tuple[float, float, float]:
    """Quantile over that of the others, and the 95 % interval of a bootstrap over starts and the rounds of each."""
    rng = np.random.default_rng(seed)
    starts, rounds = len(arm.rounds), len(arm.rounds[0])
    ratios = []
    for _ in range(1000):
        drawn = rng.integers(0, starts, size=starts)
        picked = [(int(one), int(each)) for one in drawn for each in rng.integers(0, rounds, size=rounds)]
        ratios.append(quantile([arm], q, picked) / quantile(held, q, picked))
    low, high = np.quantile(ratios, [0.025, 0.975])
    everything = [(one, each) for one in range(starts) for each in range(rounds)]
    return quantile([arm], q, everything) / quantile(held, q, everything), float(low), float(high)


def by_round(pairs: list[tuple[Arm, list[Arm]]], q: float, seed: int) -> tuple[float, float, float]:
    """Centre, over the rounds of all pairs, of the quantile over that of the others in the same round, and its 95 %
    bootstrap interval.
    """
    rng = np.random.default_rng(seed)
    rounds = [each for arm, held in pairs for each in zip(arm.blocks, *(other.blocks for other in held), strict=True)]
    logs = np.log([np.quantile(one, q) / np.quantile(np.concatenate(others), q) for one, *others in rounds])
    centres = [_centre(rng.choice(logs, size=len(logs))) for _ in range(4000)]
    low, high = np.exp(np.quantile(centres, [0.025, 0.975]))
    return float(np.exp(_centre(logs))), float(low), float(high)


def _centre(values: Floats) -> float:
    """Median of the means of all pairs, each value with itself among them."""
    first, second = np.triu_indices(len(values))
    return float(np.median((values[first] + values[second]) / 2))


def report(arms: list[Arm], seed: int) -> dict[str, dict[str, float]]:
    """Print the table, and return it."""
    found: dict[str, dict[str, float]] = {}
    everything = [(one, each) for one, start in enumerate(arms[0].rounds) for each in range(len(start))]
    titles = ("p50 against off", "p99 against off", "p99 round by round")
    print(f"{'':14}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}   " + "   ".join(f"{title:>22}" for title in titles))
    for arm in arms:
        held = bases(arm, arms)
        middle, tail = ratio(arm, held, 0.5, seed), ratio(arm, held, 0.99, seed)
        rounds = by_round([(arm, held)], 0.99, seed)
        found[arm.name] = {
            "requests": arm.answered,
            "p50_ms": quantile([arm], 0.5, everything),
            "p99_ms": quantile([arm], 0.99, everything),
            "cpu_ms": 1e3 * arm.cpu / arm.answered,
            "p50_ratio": middle[0],
            "p99_ratio": tail[0],
            "p99_ratio_low": tail[1],
            "p99_ratio_high": tail[2],
            "p99_by_round": rounds[0],
            "p99_by_round_low": rounds[1],
            "p99_by_round_high": rounds[2],
        }
        row = found[arm.name]
        print(
            f"{arm.name:14}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}{row['cpu_ms']:9.2f}   "
            + "   ".join(f"{one:8.3f} ({low:.3f}–{high:.3f})" for one, low, high in (middle, tail, rounds))
        )
    recorded = [arm for arm in arms if arm.recorded]
    for arm in recorded:
        row = found[arm.name]
        print(f"{arm.name}: {_verdict(row['p99_by_round_low'], row['p99_by_round_high'])}")
    if len(recorded) > 1:
        centre, low, high = by_round([(arm, bases(arm, arms)) for arm in recorded], 0.99, seed)
        print(f"all, on: {centre:.3f} ({low:.3f}–{high:.3f}) round by round: {_verdict(low, high)}")
    return found


def _verdict(low: float, high: float) -> str:
    says = "within" if high <= BAR else "over" if low > BAR else "too noisy to tell from"
    return f"p99 is {says} the bar of {BAR:g} times that of off"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), help="which to measure")
    parser.add_argument("--restarts", type=int, default=2, help="times that the servers are started")
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each kind for each start")
    parser.add_argument("--requests", type=int, default=600, help="in each block")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON as well")
    options = parser.parse_args()
    arms = all_arms(options.servers)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="records-") as name:
        version, pieces = make_version(Path(name))
        for start in range(options.restarts):
            # The order of starting is turned, so that nobody is always the first.
            first = start % len(options.servers)
            order = options.servers[first:] + options.servers[:first]
            folder = Path(name) / str(start)
            folder.mkdir()
            with servers(version, folder, order) as running:
                measure(arms, running, pieces, options, start)
            print(f"start {start + 1} of {options.restarts} done after {time.monotonic() - started:.0f} s", flush=True)
    print(
        f"{options.restarts} starts, {options.rounds} rounds of {options.requests} requests to each, "
        f"{options.rate:g} a second, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    found = report(arms, options.seed)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
