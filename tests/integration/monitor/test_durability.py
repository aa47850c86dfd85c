"""What was acknowledged is there, whatever happens to the process; and what happens when the database goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.monitor.live import TOKEN_FILE, TOKENS, Server, a_label, a_record, bearer, send
from tests.integration.monitor.postgres import Postgres


class Line(threading.Thread):
    """Sends batches and labels until the monitor is gone, and remembers what was acknowledged."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._model = f"line-{number}"
        self.sent: list[dict[str, Any]] = []
        self.acknowledged: set[str] = set()
        self.labelled: set[str] = set()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            try:
                while True:
                    self._round(client)
            except httpx.TransportError:
                return

    def _round(self, client: httpx.Client) -> None:
        batch = [a_record(model=self._model) for _ in range(20)]
        self.sent += batch
        if client.post("/v1/predictions", json={"records": batch}, headers=bearer("handler")).status_code == 200:
            self.acknowledged |= {one["id"] for one in batch}
            labels = [a_label(one["id"], "stain") for one in batch[:5]]
            if client.post("/v1/feedback", json=labels, headers=bearer("inspector")).status_code == 200:
                self.labelled |= {one["id"] for one in batch[:5]}


def stored(server: Server, model: str, **query: Any) -> list[str]:
    """Every id of a model."""
    found: list[str] = []
    with server.client("trainer") as client:
        parameters: dict[str, Any] = {"model": model, "limit": 1000} | query
        while True:
            page = client.get("/v1/predictions", params=parameters).json()
            found += [item["id"] for item in page["predictions"]]
            if page["next"] is None:
                return found
            parameters["cursor"] = page["next"]


def counts(server: Server) -> list[str]:
    """The lines of the persistent counters."""
    names = ("puzzle_monitor_predictions_total", "puzzle_monitor_labelled_total", "puzzle_monitor_wrong_total")
    return [line for line in httpx.get(f"{server.url}/metrics").text.splitlines() if line.startswith(names)]


def test_nothing_acknowledged_is_lost_when_it_is_killed(server: Server) -> None:
    lines: list[Line] = []
    for pause in (0.5, 0.9):
        crew = [Line(server.url, len(lines) + n) for n in range(2)]
        lines += crew
        for line in crew:
            line.start()
        time.sleep(pause)
        server.kill()
        for line in crew:
            line.join(10)
        server.start()
    total = 0
    for number, line in enumerate(lines):
        there = stored(server, f"line-{number}")
        assert len(there) == len(set(there))
        assert line.acknowledged <= set(there) <= {one["id"] for one in line.sent}
        assert line.labelled <= set(stored(server, f"line-{number}", labelled=True))
        total += len(line.acknowledged)
    assert total > 100, "the lines were acknowledged too little for this to prove anything"
    with server.client("handler") as handler:
        for number, line in enumerate(lines):
            for start in range(0, len(line.sent), 1000):
                send(handler, line.sent[start : start + 1000])
            assert sorted(stored(server, f"line-{number}")) == sorted(one["id"] for one in line.sent)
    sums = {line.partition('model="')[2].partition('"')[0]: line for line in counts(server) if "predictions" in line}
    for number, line in enumerate(lines):
        assert float(sums[f"line-{number}"].split()[-1]) == len(line.sent), "each is counted once"


def test_sigterm_ends_in_order_and_counters_go_on_after_a_restart(server: Server) -> None:
    records = [a_record() for _ in range(10)]
    with server.client("handler") as handler, server.client("inspector") as inspector:
        send(handler, records)
        inspector.post("/v1/feedback", json=[a_label(one["id"], "stain") for one in records[:4]])
    before = counts(server)
    assert len(before) == 3 and before[0].endswith(" 10.0")
    assert server.stop() == 0
    assert "Traceback" not in server.log()
    server.start()
    assert counts(server) == before


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Server]:
    """A monitor with low limits."""
    found = Server(tmp_path, f"sqlite:///{tmp_path}/monitor.db", rate="2000", burst="10000").start()
    yield found
    found.kill()


def test_limits_of_a_token_and_its_replacement(strict: Server, tmp_path: Path) -> None:
    with strict.client("handler") as handler, strict.client("trainer") as trainer:
        batch = {"records": [a_record(id=f"p-{n}") for n in range(1000)]}
        codes: list[int] = []
        while 429 not in codes and len(codes) < 60:
            answer = handler.post("/v1/predictions", json=batch)
            codes.append(answer.status_code)
        assert codes[-1] == 429 and set(codes[:-1]) == {200} and len(codes) > 10
        assert int(answer.headers["retry-after"]) >= 1 and "wait" in answer.json()["detail"]
        assert trainer.get("/v1/predictions").status_code == 200, "others have budgets of their own"

        (tmp_path / "tokens").write_text("half a line")
        time.sleep(1.2)
        assert trainer.get("/v1/predictions").status_code == 200, "a broken Secret locks nobody out"
        renewed = tmp_path / "renewed"
        renewed.write_text(TOKEN_FILE.replace(TOKENS["trainer"], "renewed-" + "y" * 24))
        renewed.rename(tmp_path / "tokens")
        time.sleep(1.2)
        assert trainer.get("/v1/predictions").status_code == 401
        fresh = {"Authorization": "Bearer renewed-" + "y" * 24}
        assert trainer.get("/v1/predictions", headers=fresh).status_code == 200
    assert "y" * 24 not in strict.log() and "half" not in strict.log()


def test_what_is_old_is_forgotten_by_itself(tmp_path: Path) -> None:
    server = Server(tmp_path, f"sqlite:///{tmp_path}/monitor.db", retention="3s", prune_every="1s").start()
    try:
        with server.client("handler") as handler:
            one = a_record()
            assert send(handler, [one])["stored"] == 1
            jpeg = {"Content-Type": "image/jpeg"}
            assert handler.put(f"/v1/predictions/{one['id']}/image", content=b"\xff\xd8\xff", headers=jpeg).is_success
            assert len(list((tmp_path / "images").rglob("*.jpg"))) == 1
            deadline = time.monotonic() + 20
            while stored(server, "line-1") and time.monotonic() < deadline:
                time.sleep(0.5)
            assert stored(server, "line-1") == [] and list((tmp_path / "images").rglob("*.jpg")) == []
            assert send(handler, [one]) == {"stored": 0, "duplicates": 0, "expired": 1, "conflicts": []}
    finally:
        server.kill()


@pytest.mark.timeout(60)
def test_without_its_database_it_says_so_and_recovers_by_itself(tmp_path: Path) -> None:
    with Postgres() as postgres:
        server = Server(tmp_path, postgres.new_database()).start()
        try:
            with server.client("handler") as handler:
                first, second = a_record(), a_record()
                send(handler, [first])
                postgres.pause()
                answer = handler.post("/v1/predictions", json={"records": [second]})
                assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1, answer.text
                assert httpx.get(f"{server.url}/readyz").status_code == 503
                assert httpx.get(f"{server.url}/healthz").status_code == 200
                assert "puzzle_monitor_store_up 0.0" in httpx.get(f"{server.url}/metrics").text
                postgres.resume()
                assert send(handler, [second])["stored"] == 1
            assert set(stored(server, "line-1")) == {first["id"], second["id"]}
        finally:
            server.kill()
