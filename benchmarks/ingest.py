"""How many records a second the monitor takes, for how long, and whether any is lost.

    python benchmarks/ingest.py --seconds 60 --rate 1000      # SQLite, then PostgreSQL, both made for this
    python benchmarks/ingest.py --seconds 600 --url sqlite    # or postgresql, or any database's URL

A real monitor is started on an empty database with everything durable as in production: SQLite with synchronous=FULL,
PostgreSQL with fsync. Batches are sent on a fixed timetable, whether or not earlier ones were answered (an open loop):
the latency of a batch counts from when it was due, so that a stall is seen in all the batches that it delays (Tene,
"How NOT to Measure Latency", 2013). A share of records gets feedback, and /metrics is scraped meanwhile. At the end the
monitor is killed and the identities in the database are compared with those that were acknowledged.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import random
import sys
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.tables import feedback, predictions
from tests.integration.monitor.live import CLASSES, Server, a_record, bearer
from tests.integration.monitor.postgres import Postgres

_SCRAPE_S = 15.0


@dataclass(frozen=True)
class Order:
    """What to send."""

    seconds: float
    rate: float
    batch: int
    senders: int
    embedding: int
    labelled: float
    warm_up: float = 5.0


@dataclass
class Result:
    """What came of it. Memory in MiB, latency in milliseconds from when a batch was due."""

    engine: str
    seconds: float = 0.0
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    stored: int = 0
    lost: int = 0
    labels_sent: int = 0
    labels_lost: int = 0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    rss_start_mib: float = 0.0
    rss_end_mib: float = 0.0
    rss_max_mib: float = 0.0
    cpu_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Texts:
    """Bodies as text, cheaply: the sender must not need the cores that the monitor is measured on."""

    def __init__(self, embedding: int) -> None:
        chance = random.Random(1)
        self._templates = []
        for number in range(64):
            record = a_record(CLASSES[number % len(CLASSES)], id="ID", at="AT", revision=f"r-{number % 2}")
            if embedding:
                record["embedding"] = [round(chance.gauss(0, 1), 6) for _ in range(embedding)]
            self._templates.append(json.dumps(record, separators=(",", ":")))

    def batch(self, ids: list[str], now: str) -> bytes:
        """Predictions with these ids."""
        parts = [
            self._templates[n % 64].replace('"ID"', f'"{one}"', 1).replace('"AT"', f'"{now}"', 1)
            for n, one in enumerate(ids)
        ]
        return f'{{"records":[{",".join(parts)}]}}'.encode()

    @staticmethod
    def labels(ids: list[str], now: str) -> bytes:
        """Feedback on these ids."""
        return json.dumps(
            [{"prediction_id": one, "label": "ok", "who": "benchmark", "at": now} for one in ids]
        ).encode()


class Load:
    """Senders with a connection each, and what they saw."""

    def __init__(self, url: str, order: Order) -> None:
        self._address = url.removeprefix("http://")
        self._order = order
        self._texts = Texts(order.embedding)
        self._due: queue.SimpleQueue[tuple[float, list[str]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._run = uuid.uuid4().hex[:8]
        self._number = 0
        self.acknowledged: set[str] = set()
        self.labelled: set[str] = set()
        self.latencies: list[float] = []
        self.sent = 0
        self.problems: list[str] = []

    def run(self) -> float:
        """Send everything on time; the seconds it took until the last answer."""
        threads = [threading.Thread(target=self._sender) for _ in range(self._order.senders)]
        for thread in threads:
            thread.start()
        start, step = time.monotonic(), self._order.batch / self._order.rate
        for number in range(int(self._order.seconds / step)):
            due = start + number * step
            time.sleep(max(0.0, due - time.monotonic()))
            self._due.put((due, self._ids()))
        for _ in threads:
            self._due.put(None)
        for thread in threads:
            thread.join()
        return time.monotonic() - start

    def _ids(self) -> list[str]:
        first, self._number = self._number, self._number + self._order.batch
        return [f"{self._run}-{n:09d}" for n in range(first, self._number)]

    def _sender(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        chance = random.Random(2)
        while (work := self._due.get()) is not None:
            due, ids = work
            now = datetime.now(UTC).isoformat()
            code = self._post(connection, "/v1/predictions", "handler", self._texts.batch(ids, now))
            with self._lock:
                self.sent += len(ids)
                self.latencies.append(time.monotonic() - due)
                if code == 200:
                    self.acknowledged.update(ids)
            some = [one for one in ids if chance.random() < self._order.labelled]
            if some and self._post(connection, "/v1/feedback", "inspector", self._texts.labels(some, now)) == 200:
                with self._lock:
                    self.labelled.update(some)
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, path: str, token: str, body: bytes) -> int:
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"} | bearer(token))
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.problems.append(f"{type(error).__name__}: {error}")
            return 0
        if answer.status != 200:
            self.problems.append(f"{answer.status}: {text[:200].decode(errors='replace')}")
        return answer.status


class Watch(threading.Thread):
    """Looks at the monitor's memory every second, and scrapes it as Prometheus would."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._end = threading.Event()
        self.memory: list[float] = []

    def run(self) -> None:
        last = 0.0
        while not self._end.wait(1.0):
            self.memory.append(resident(self._server.pid))
            if time.monotonic() - last > _SCRAPE_S:
                last = time.monotonic()
                connection = http.client.HTTPConnection(self._server.url.removeprefix("http://"), timeout=30)
                connection.request("GET", "/metrics")
                connection.getresponse().read()
                connection.close()

    def stop(self) -> None:
        self._end.set()
        self.join()


def resident(pid: int) -> float:
    """Memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def processor(pid: int) -> float:
    """Seconds of processor time that a process used."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def measure(engine: str, url: str, order: Order, folder: Path) -> Result:
    """Run the load against a new monitor on this database."""
    server = Server(folder, url, rate="100000", burst="200000").start()
    result = Result(engine)
    try:
        Load(server.url, replace(order, seconds=order.warm_up)).run()
        result.rss_start_mib, before = resident(server.pid), processor(server.pid)
        watch, load = Watch(server), Load(server.url, order)
        watch.start()
        result.seconds = load.run()
        watch.stop()
        result.rss_end_mib, result.rss_max_mib = resident(server.pid), max(watch.memory)
        result.cpu_seconds = processor(server.pid) - before
    finally:
        server.kill()  # what was acknowledged has to be on disk anyway
    _compare(result, load, url)
    return result


def _compare(result: Result, load: Load, url: str) -> None:
    """What is in the database against what was acknowledged."""
    database = Database(url)
    with database.reading() as connection:
        there = set(connection.execute(select(predictions.c.id)).scalars())
        labels = set(connection.execute(select(feedback.c.prediction_id)).scalars())
    database.close()
    times = sorted(load.latencies)
    result.sent, result.acknowledged = load.sent, len(load.acknowledged)
    result.refused = result.sent - result.acknowledged
    result.stored = len(load.acknowledged & there)
    result.lost = len(load.acknowledged - there)
    result.labels_sent, result.labels_lost = len(load.labelled), len(load.labelled - labels)
    result.per_second = result.stored / result.seconds
    result.p50_ms, result.p99_ms = times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3
    result.max_ms = times[-1] * 1e3
    result.problems = load.problems[:5]


def table(results: list[Result]) -> str:
    """The results, a column for each engine."""
    rows = [
        ("seconds", "{:,.0f}", "seconds"),
        ("records sent", "{:,}", "sent"),
        ("records acknowledged", "{:,}", "acknowledged"),
        ("records refused", "{:,}", "refused"),
        ("records stored", "{:,}", "stored"),
        ("acknowledged but lost", "{:,}", "lost"),
        ("labels acknowledged", "{:,}", "labels_sent"),
        ("labels lost", "{:,}", "labels_lost"),
        ("stored per second", "{:,.0f}", "per_second"),
        ("batch latency p50, ms", "{:,.1f}", "p50_ms"),
        ("batch latency p99, ms", "{:,.1f}", "p99_ms"),
        ("batch latency max, ms", "{:,.1f}", "max_ms"),
        ("monitor RSS at start, MiB", "{:,.1f}", "rss_start_mib"),
        ("monitor RSS at end, MiB", "{:,.1f}", "rss_end_mib"),
        ("monitor RSS at most, MiB", "{:,.1f}", "rss_max_mib"),
        ("monitor CPU, s", "{:,.1f}", "cpu_seconds"),
    ]
    lines = ["".join([f"{'':<28}", *(f"{result.engine:>14}" for result in results)])]
    for title, form, name in rows:
        lines.append("".join([f"{title:<28}", *(f"{form.format(getattr(result, name)):>14}" for result in results)]))
    lines += [f"{result.engine}: {problem}" for result in results for problem in result.problems]
    return "\n".join(lines)


def main() -> int:
    """Measure and print; exit code 1 if anything acknowledged was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="records a second")
    parser.add_argument("--url", action="append", help="sqlite, postgresql, or the URL of an empty database")
    parser.add_argument("--batch", type=int, default=50, help="records in one request")
    parser.add_argument("--senders", type=int, default=4, help="connections")
    parser.add_argument("--embedding", type=int, default=64, help="numbers in each embedding; 0: none")
    parser.add_argument("--labelled", type=float, default=0.02, help="share of records that get feedback")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    order = Order(given.seconds, given.rate, given.batch, given.senders, given.embedding, given.labelled)
    results = []
    for where in given.url or ["sqlite", "postgresql"]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = where
            if where == "sqlite":
                url = f"sqlite:///{folder}/monitor.db"
            elif where == "postgresql":
                url = stack.enter_context(Postgres(durable=True)).new_database()
            results.append(measure(where.partition(":")[0], url, order, folder))
    if given.json:
        print(json.dumps({result.engine: asdict(result) for result in results}, indent=2))
    else:
        print(table(results))
    return int(any(result.lost or result.labels_lost for result in results))


if __name__ == "__main__":
    sys.exit(main())
