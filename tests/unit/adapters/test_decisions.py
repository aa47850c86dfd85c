"""A line's decisions over real HTTP, from a small server that lists and serves objects as S3 does."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from puzzle_operator.adapters.decisions import MOST, read_record
from puzzle_operator.adapters.registry import DECISIONS_FOR, S3Registry
from puzzle_operator.core.facts import VersionCheck, VersionState
from puzzle_operator.core.retraining.facts import Decisions
from puzzle_operator.ports import Credentials
from tests.builders import V1, V2, V3, a_model

GOOD = Credentials("key", "secret", https=False)


class Store(BaseHTTPRequestHandler):
    """Objects by key; `code` other than 200 refuses everything."""

    objects: ClassVar[dict[str, bytes]] = {}
    code: ClassVar[int] = 200
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        self.asked.append(path.path + ("?list" if path.query else ""))
        key = path.path.removeprefix("/puzzlenet/")
        body = self.objects.get(key, b"")
        if path.query:
            items = "".join(
                f"<Contents><Key>{k}</Key><Size>{len(v)}</Size><LastModified>2026-11-23T14:00:00.000Z</LastModified>"
                f"<ETag>x</ETag></Contents>"
                for k, v in sorted(self.objects.items())
            )
            head = "<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Name>puzzlenet</Name>"
            body = f"{head}<IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()
        self.send_response(self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


class Secrets:
    async def credentials(self, namespace: str, secret: str) -> Credentials | None:
        return GOOD


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Store.asked.clear()
    Store.objects.clear()
    monkeypatch.setattr(Store, "code", 200)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def store(number: int, kind: str, version: str | None, run: str = "r") -> None:
    record = {"schema": 1, "kind": kind, "version": version, "run": run, "reason": "GateRefused: slow"}
    Store.objects[f"lines/line-1/decisions/2026112{number:04}-x.json"] = json.dumps(record).encode()


class Asking:
    """One registry, with a clock of its own."""

    def __init__(self, endpoint: str) -> None:
        self.now = 0.0
        self.registry = S3Registry(Secrets(), timeout=2.0, monotonic=lambda: self.now)  # type: ignore[arg-type]
        self.model = a_model()
        self.model.body["spec"]["storage"] = {"endpoint": endpoint}

    def __call__(self, *, fresh: bool = False) -> Decisions | VersionCheck:
        return asyncio.run(self.registry.decisions(self.model.build(), fresh=fresh))


def test_the_newest_come_first_and_only_accepted_ones_count(endpoint: str) -> None:
    store(1, "Accepted", V1)
    store(2, "Accepted", V2)
    store(3, "Refused", V3, "run-3")
    found = Asking(endpoint)()
    assert isinstance(found, Decisions)
    assert found.accepted == (V2, V1)
    record = found.of_run("run-3")
    assert record is not None
    assert (record.kind, record.reason) == ("Refused", "GateRefused: slow")


def test_what_was_read_is_not_read_again_and_an_answer_serves_for_a_while(endpoint: str) -> None:
    store(1, "Accepted", V1)
    ask = Asking(endpoint)
    ask()
    ask()
    assert len(Store.asked) == 2  # one listing, one record
    store(2, "Accepted", V2)
    assert ask() == ask()
    assert len(Store.asked) == 2
    found = ask(fresh=True)
    assert isinstance(found, Decisions)
    assert found.accepted == (V2, V1)
    assert len(Store.asked) == 4  # one listing, the new record
    ask.now += DECISIONS_FOR + 1
    ask()
    assert len(Store.asked) == 5


def test_a_model_that_is_made_again_is_not_answered_from_the_time_of_the_one_before(endpoint: str) -> None:
    store(1, "Accepted", V1)
    ask = Asking(endpoint)
    ask()
    store(2, "Accepted", V2)
    ask.model.body["metadata"]["uid"] = "another"
    found = ask()
    assert isinstance(found, Decisions)
    assert found.accepted == (V2, V1)


def test_an_outage_is_a_value_and_is_not_asked_for_at_every_pass(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "code", 503)
    ask = Asking(endpoint)
    found = ask()
    assert isinstance(found, VersionCheck)
    assert found.state is VersionState.UNREACHABLE
    asked = len(Store.asked)
    ask()
    assert len(Store.asked) == asked


def test_credentials_that_are_refused_are_no_outage(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    monkeypatch.setattr(Store, "code", 403)

    def refuse(self: Store) -> None:
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(error)))
        self.end_headers()
        self.wfile.write(error)

    monkeypatch.setattr(Store, "do_GET", refuse)
    found = Asking(endpoint)()
    assert isinstance(found, VersionCheck)
    assert found.state is VersionState.SECRET_INVALID


def test_only_the_last_ones_are_looked_at(endpoint: str) -> None:
    for number in range(MOST + 20):
        store(number, "Accepted", V1)
    Asking(endpoint)()
    assert len(Store.asked) == MOST + 1


def test_how_far_a_run_is_is_told_in_words(endpoint: str) -> None:
    told = {"at": "2026-11-23T14:00:00Z", "stage": "train", "epoch": 3, "of": 10, "loss": 0.12345, "eta_s": 7}
    Store.objects["runs/r1/progress.json"] = json.dumps(told).encode()
    ask = Asking(endpoint)
    assert asyncio.run(ask.registry.progress(ask.model.build(), "r1")) == "train: epoch 3, of 10, loss 0.1235"
    assert asyncio.run(ask.registry.progress(ask.model.build(), "r2")) == ""


@pytest.mark.parametrize("text", [b"", b"no json", b"[]", b'{"kind": 3}'])
def test_a_record_without_sense_is_passed_over(text: bytes) -> None:
    assert read_record("k", text) is None


def test_a_version_that_is_no_digest_is_no_version() -> None:
    record = read_record("k", b'{"kind": "Accepted", "version": "latest"}')
    assert record is not None
    assert record.version == ""
