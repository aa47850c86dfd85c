"""The monitor's client against a real HTTP server: what is sent, what is heard, and every kind of silence."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from puzzle_operator.adapters.monitor import HttpMonitor
from puzzle_operator.api.monitoring import DriftPhase, Harm
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.monitor import MonitorState
from tests.builders import V1

TOKEN = "operator-secret"
STATE: dict[str, Any] = {
    "at": "2026-11-23T14:00:00Z",
    "drift": [
        {
            "version": V1,
            "detector": "MMDOnline",
            "backend": "builtin",
            "images": 1200,
            "score": 0.31,
            "threshold": 0.2,
            "p_value": None,
            "phase": "Confirmed",
            "harmful": "Yes",
            "since": "2026-11-23T13:00:00.5Z",
            "message": "the pieces differ",
            "window": "a field of a later monitor",
        }
    ],
    "input": {
        "healthy": False,
        "problems": [{"kind": "Dark", "since": "2026-11-23T13:30:00Z", "message": "dark since half past one"}],
        "images": 7,
        "last_image_at": "2026-11-23T13:59:59Z",
        "message": "dark",
    },
    "accuracy": [{"version": V1, "labelled": 40, "wrong": 3, "accuracy": 0.925, "window_s": 86400}],
    "labels": {"total": 50, "images": 30, "bytes": 123456},
}


@dataclass
class Server:
    """Remembers what it was asked and answers what it is told to."""

    code: int = 200
    body: bytes = json.dumps(STATE).encode()
    held: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str | None, Any]] = field(default_factory=list)
    told: list[tuple[str, str, Any]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    """Of the next answers to anything but PUT; 200 after that."""
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        text = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        code, body = self.code, self.body
        if request.command == "PUT":
            self.asked.append((request.path, request.headers.get("Authorization"), json.loads(text)))
            self.held.wait(10)
        else:
            self.told.append((request.command, request.path, json.loads(text) if text else None))
            code = self.codes.pop(0) if self.codes else 204 if request.command == "DELETE" else 200
            body = b"" if code == 204 else b'{"models": [], "detail": "decisions[0].kind: no"}'
        request.send_response(code)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()
    told.held.set()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            told.answer(self)

        def do_POST(self) -> None:
            told.answer(self)

        def do_DELETE(self) -> None:
            told.answer(self)

        def do_GET(self) -> None:
            told.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        told.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield told
        told.held.set()
        http.shutdown()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_monitor(server: Server, tmp_path: Path, clock: Clock, **options: Any) -> HttpMonitor:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    client = httpx.AsyncClient(base_url=server.url, timeout=10.0)
    return HttpMonitor(client, token, monotonic=clock, **{"patience": 10.0, **options})


def ask(server: Server, tmp_path: Path) -> MonitorState | Missing:
    return asyncio.run(a_monitor(server, tmp_path, Clock()).ask("lyon", "line-1", {"line": "line-1"}))


def test_settings_go_there_and_the_state_comes_back(server: Server, tmp_path: Path) -> None:
    state = ask(server, tmp_path)
    assert server.asked == [("/v1/models/lyon/line-1", f"Bearer {TOKEN}", {"line": "line-1"})]
    assert isinstance(state, MonitorState)
    drift, labels = state.drift_of(V1), state.accuracy_of(V1)
    assert drift is not None and labels is not None
    assert (drift.phase, drift.harmful, drift.score) == (DriftPhase.CONFIRMED, Harm.YES, 0.31)
    assert drift.since == datetime(2026, 11, 23, 13, 0, 0, 500_000, UTC)
    assert (state.input.healthy, state.input.problems[0].kind) == (False, "Dark")
    assert (labels.labelled, labels.wrong, labels.window) == (40, 3, 86400.0)
    assert (state.labels.total, state.labels.images, state.labels.size) == (50, 30, 123456)


def test_an_answer_serves_until_the_next_one_is_due_or_something_else_is_wanted(server: Server, tmp_path: Path) -> None:
    clock = Clock()

    async def passes() -> None:
        monitor = a_monitor(server, tmp_path, clock)
        for seconds in (0.0, 1.0, 9.9):
            clock.now = seconds
            await monitor.ask("lyon", "line-1", {"line": "line-1"})
        assert len(server.asked) == 1
        await monitor.ask("lyon", "line-1", {"line": "line-2"})
        assert [settings["line"] for _, _, settings in server.asked] == ["line-1", "line-2"]
        await monitor.ask("metz", "line-1", {"line": "line-1"})
        clock.now = 20.0
        await monitor.ask("lyon", "line-1", {"line": "line-2"})
        assert [path for path, _, _ in server.asked[2:]] == ["/v1/models/metz/line-1", "/v1/models/lyon/line-1"]

    asyncio.run(passes())


def test_a_monitor_that_hangs_holds_no_pass_up_and_is_asked_once(server: Server, tmp_path: Path) -> None:
    clock = Clock()

    async def passes() -> None:
        monitor = a_monitor(server, tmp_path, clock, patience=0.05)
        server.held.clear()
        for seconds in (0.0, 20.0, 40.0):
            clock.now = seconds
            found = await monitor.ask("lyon", "line-1", {})
            assert isinstance(found, Missing) and "has not answered yet" in found.reason
        server.held.set()
        for _ in range(200):
            if not isinstance(found, Missing):
                break
            await asyncio.sleep(0.02)
            found = await monitor.ask("lyon", "line-1", {})
        assert isinstance(found, MonitorState)

    asyncio.run(passes())
    assert 1 <= len(server.asked) <= 2


def test_what_was_heard_serves_through_a_short_outage_and_not_through_a_long_one(
    server: Server, tmp_path: Path
) -> None:
    clock = Clock()

    async def passes() -> None:
        monitor = a_monitor(server, tmp_path, clock, stale_after=60.0)
        assert isinstance(await monitor.ask("lyon", "line-1", {}), MonitorState)
        server.code, server.body = 503, b'{"detail": "the database does not answer"}'
        clock.now = 59.0
        assert isinstance(await monitor.ask("lyon", "line-1", {}), MonitorState)
        clock.now = 71.0
        found = await monitor.ask("lyon", "line-1", {})
        assert isinstance(found, Missing)
        assert (found.kind, found.reason) == (
            MissingKind.UNAVAILABLE,
            f"the monitor at {server.url} answers 503: the database does not answer",
        )

    asyncio.run(passes())


@pytest.mark.parametrize(
    ("code", "body", "kind", "sentence"),
    [
        (401, b"{}", MissingKind.UNAVAILABLE, "needs the role operator"),
        (403, b"{}", MissingKind.UNAVAILABLE, "needs the role operator"),
        (404, b"{}", MissingKind.ABSENT, "is it an older puzzle-monitor?"),
        (500, b'["x"]', MissingKind.UNAVAILABLE, "answers 500"),
        (200, b"<html>", MissingKind.UNAVAILABLE, "does not answer (JSONDecodeError)"),
        (200, b'{"drift": []}', MissingKind.UNAVAILABLE, "answers with something else: at: Field required"),
        (
            200,
            json.dumps({**STATE, "drift": [{"version": V1, "phase": "Odd", "harmful": "No"}]}).encode(),
            MissingKind.UNAVAILABLE,
            "answers with something else: drift.0.phase",
        ),
        (200, json.dumps({**STATE, "accuracy": 7}).encode(), MissingKind.UNAVAILABLE, "answers with something else"),
    ],
)
def test_every_other_answer_is_an_outage_with_a_sentence(
    server: Server, tmp_path: Path, code: int, body: bytes, kind: MissingKind, sentence: str
) -> None:
    server.code, server.body = code, body
    found = ask(server, tmp_path)
    assert isinstance(found, Missing)
    assert found.kind is kind
    assert sentence in found.reason
    assert TOKEN not in found.reason


def test_without_a_server_or_a_token_nobody_is_kept_waiting(server: Server, tmp_path: Path) -> None:
    client = httpx.AsyncClient(base_url="http://127.0.0.1:9", timeout=5.0)
    found = asyncio.run(HttpMonitor(client, None).ask("lyon", "line-1", {}))
    assert isinstance(found, Missing) and "does not answer (ConnectError)" in found.reason
    client = httpx.AsyncClient(base_url=server.url)
    found = asyncio.run(HttpMonitor(client, tmp_path / "none").ask("lyon", "line-1", {}))
    assert isinstance(found, Missing) and "PUZZLE_MONITOR_TOKEN_FILE" in found.reason
    assert server.asked == []


def test_a_model_that_is_gone_is_taken_off_after_what_was_on_its_way(server: Server, tmp_path: Path) -> None:
    async def passes() -> list[Missing | None]:
        monitor = a_monitor(server, tmp_path, Clock(), patience=0.01)
        server.held.clear()
        await monitor.ask("lyon", "line-1", {"drift": {}})
        asyncio.get_running_loop().call_later(0.1, server.held.set)
        found = [await monitor.forget("lyon", "line-1")]
        assert (len(server.asked), len(server.told)) == (1, 1), "the PUT that was on its way came first"
        server.codes = [503]
        return [*found, await monitor.forget("lyon", "line-2")]

    first, second = asyncio.run(passes())
    assert first is None
    assert second is not None and "answers 503" in second.reason
    assert [call[:2] for call in server.told] == [
        ("DELETE", "/v1/models/lyon/line-1"),
        ("DELETE", "/v1/models/lyon/line-2"),
    ]


async def _told(monitor: HttpMonitor, *ids: str) -> None:
    """One pass, and the end of what it began."""
    await monitor.ask("lyon", "line-1", {"line": "line-1"})
    await monitor.tell("lyon", "line-1", [{"id": one} for one in ids])
    telling = monitor._talks["lyon", "line-1"].telling
    if telling is not None:
        await telling


def _ids(server: Server) -> list[list[str]]:
    assert {call[:2] for call in server.told} <= {("POST", "/v1/models/lyon/line-1/decisions")}
    return [[one["id"] for one in call[2]["decisions"]] for call in server.told]


def _with(server: Server, *ids: str) -> None:
    server.body = json.dumps({**STATE, "decisions": list(ids)}).encode()


def test_decisions_that_are_not_on_record_are_told_once(server: Server, tmp_path: Path) -> None:
    clock = Clock()

    async def passes() -> None:
        monitor = a_monitor(server, tmp_path, clock)
        _with(server, "d-1")
        await _told(monitor, "d-1", "d-2")
        await _told(monitor, "d-1", "d-2")
        assert _ids(server) == [["d-2"]]
        await _told(monitor, "d-1", "d-2", "d-3")
        assert _ids(server)[1:] == [["d-3"]], "at once, without waiting for the next look"
        clock.now = 10.0
        _with(server, "d-1", "d-2", "d-3")
        await _told(monitor, "d-1", "d-2", "d-3")
        assert len(server.told) == 2

    asyncio.run(passes())


def test_a_monitor_that_lost_its_database_is_told_again(server: Server, tmp_path: Path) -> None:
    clock = Clock()

    async def passes() -> None:
        monitor = a_monitor(server, tmp_path, clock)
        _with(server)
        await _told(monitor, "d-1", "d-2")
        clock.now = 10.0
        await _told(monitor, "d-1", "d-2")

    asyncio.run(passes())
    assert _ids(server) == [["d-1", "d-2"]] * 2


def test_decisions_are_told_until_they_are_acknowledged(server: Server, tmp_path: Path) -> None:
    clock = Clock()

    async def passes() -> None:
        monitor = a_monitor(server, tmp_path, clock)
        _with(server)
        server.codes = [503, 401]
        for seconds in (0.0, 1.0, 9.0, 10.0, 11.0, 20.0, 21.0):
            clock.now = seconds
            await _told(monitor, "d-1")

    asyncio.run(passes())
    assert _ids(server) == [["d-1"]] * 3, "two that failed, ten seconds apart, and one that did not"


def test_one_that_the_monitor_refuses_holds_up_no_other(server: Server, tmp_path: Path) -> None:
    async def passes() -> None:
        monitor = a_monitor(server, tmp_path, Clock())
        _with(server)
        server.codes = [422, 200, 422, 200]
        for _ in range(2):
            await _told(monitor, "d-1", "odd", "d-3")

    asyncio.run(passes())
    assert _ids(server) == [["d-1", "odd", "d-3"], ["d-1"], ["odd"], ["d-3"]]


def test_a_monitor_that_keeps_no_decisions_is_told_none(server: Server, tmp_path: Path) -> None:
    async def passes() -> None:
        await _told(a_monitor(server, tmp_path, Clock()), "d-1")

    asyncio.run(passes())
    assert server.told == []
