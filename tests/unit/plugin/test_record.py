"""`kubectl puzzle history --all`: the monitor's record over real HTTP, and what the status has beyond it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner, Result

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.manifests.decisions import decision_records
from puzzle_operator.plugin.cli import cli
from tests.builders import V1, V2
from tests.unit.core.world import a_stable_world
from tests.unit.plugin.test_commands import Api, api, kubeconfig

__all__ = ["api", "kubeconfig"]
PAGE = 2


@dataclass
class Record:
    """A monitor that answers two decisions at a time."""

    decisions: list[dict[str, Any]] = field(default_factory=list)
    code: int = 200
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if self.code != 200:
            return self.code, {"detail": "because of the moon"}
        assert path == "/v1/models/lyon/line-1/decisions" or not self.decisions
        end = int(query["before"][0]) if "before" in query else len(self.decisions)
        start = max(0, end - PAGE)
        shown = [self.decisions[n] | {"seq": n} for n in range(start, end)][::-1]
        return 200, {"decisions": shown, "next": start or None}


@pytest.fixture
def record() -> Iterator[Record]:
    held = Record()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = urlsplit(self.path)
            held.asked.append((self.path, self.headers.get("Authorization")))
            code, body = held.answer(at.path, parse_qs(at.query))
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        held.url = f"http://127.0.0.1:{server.server_port}"
        yield held
        server.shutdown()


def a_record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"d-{number}",
        "uid": "uid-line-1",
        "at": f"2026-11-0{number}T10:00:00Z",
        "kind": "RolledBack",
        "version": V2,
        "parent": V1,
        "message": f"reason {number}",
    } | changes


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["history", "line-1", *words], env={"PUZZLE_MONITOR_URL": ""})


@pytest.mark.usefixtures("kubeconfig")
def test_all_of_it_is_shown_oldest_first_over_pages(api: Api, record: Record, tmp_path: Path) -> None:
    world = a_stable_world()
    api.hold(world)
    mine = list(decision_records(PuzzleModel.parse(api.models["lyon/line-1"])))
    record.decisions = [*(a_record(n) for n in range(1, 6)), *mine]
    token = tmp_path / "token"
    token.write_text("secret\n")
    found = run("--all", "--monitor", record.url, "--monitor-token-file", str(token))
    assert found.exit_code == 0, found.output
    reasons = [line.strip() for line in found.output.splitlines() if "reason" in line]
    assert reasons == [f"reason {n}" for n in range(1, 6)]
    assert found.output.count("Deployed") == 1 and "not on the monitor's record" not in found.output
    assert "PuzzleModel uid" not in found.output, "there was only one of the name"
    assert {token for _, token in record.asked} == {"Bearer secret"} and len(record.asked) == 3


@pytest.mark.usefixtures("kubeconfig")
def test_what_is_not_on_record_yet_and_models_of_the_same_name_are_told_apart(api: Api, record: Record) -> None:
    api.hold(a_stable_world())
    record.decisions = [a_record(1, uid="an-older-one")]
    output = run("--all", "--monitor", record.url).output
    older, beyond = output.index("PuzzleModel an-older-one"), output.index("not on the monitor's record yet")
    assert older < output.index("reason 1") < beyond < output.index("Deployed")


@pytest.mark.usefixtures("kubeconfig")
def test_a_model_that_is_gone_has_its_record(api: Api, record: Record) -> None:
    record.decisions = [a_record(1)]
    assert "reason 1" in run("--all", "--monitor", record.url).output
    record.decisions = []
    found = run("--all", "--monitor", record.url)
    assert (found.exit_code, "there is no PuzzleModel line-1" in found.output) == (2, True)
    api.refuses, record.decisions = 503, [a_record(1)]
    assert run("--all", "--monitor", record.url).exit_code == 2, "whether it is gone is not known"


@pytest.mark.usefixtures("kubeconfig")
def test_without_a_monitor_it_says_how_to_reach_one(api: Api, record: Record) -> None:
    api.hold(a_stable_world())
    found = run("--all")
    assert found.exit_code == 2 and "kubectl port-forward" in found.output
    assert run("--all", "--monitor", "http://127.0.0.1:9").exit_code == 2
    record.code = 403
    found = run("--all", "--monitor", record.url)
    assert found.exit_code == 2 and "role read" in found.output
    assert run().exit_code == 0, "the last 30 need none"
