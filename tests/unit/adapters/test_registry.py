"""The registry's answers, over real HTTP from a small server that speaks just enough S3."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from puzzle_operator.adapters.registry import FOUND_FOR, S3Registry
from puzzle_operator.core.facts import VersionState
from puzzle_operator.ports import Credentials, Rejected
from tests.builders import V1, a_model


class Store(BaseHTTPRequestHandler):
    """Answers HEAD with one code for everything, and counts."""

    code: ClassVar[int] = 200
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.code)
        self.send_header("Content-Length", "0")
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Mon, 23 Nov 2026 14:00:00 GMT")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


class Secrets:
    """The one call that the registry makes of the cluster."""

    def __init__(self, answer: Credentials | Exception | None) -> None:
        self.answer = answer

    async def credentials(self, namespace: str, secret: str) -> Credentials | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def endpoint() -> Iterator[str]:
    Store.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


GOOD = Credentials("key", "secret", https=False)


def check(endpoint: str, answer: Credentials | Exception | None = GOOD, registry: S3Registry | None = None) -> Any:
    builder = a_model()
    builder.body["spec"]["storage"] = {"endpoint": endpoint}
    registry = registry or S3Registry(Secrets(answer), timeout=2.0)  # type: ignore[arg-type]
    return asyncio.run(registry.check(builder.build(), V1))


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        (200, VersionState.FOUND, ""),
        (404, VersionState.NOT_FOUND, "s3://puzzlenet/versions/sha256-"),
        (403, VersionState.SECRET_INVALID, "refuses the credentials"),
        (500, VersionState.UNREACHABLE, ""),
    ],
)
def test_every_answer_has_its_meaning(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, code: int, state: VersionState, words: str
) -> None:
    monkeypatch.setattr(Store, "code", code)
    seen = check(endpoint)
    assert seen.state is state
    assert words in seen.message


def test_a_version_is_there_when_its_manifest_is(endpoint: str) -> None:
    check(endpoint)
    assert Store.asked == [f"/puzzlenet/versions/sha256-{V1[7:]}/manifest.json"]


def test_nobody_at_the_endpoint_is_unreachable_and_not_missing() -> None:
    assert check("127.0.0.1:9").state is VersionState.UNREACHABLE


def test_a_missing_secret_is_named_with_its_namespace() -> None:
    seen = check("127.0.0.1:9", None)
    assert seen.state is VersionState.SECRET_MISSING
    assert "Secret puzzle-s3" in seen.message
    assert "namespace lyon" in seen.message


def test_a_secret_without_a_key_is_invalid() -> None:
    seen = check("127.0.0.1:9", Rejected("Secret puzzle-s3 lacks the key AWS_ACCESS_KEY_ID"))
    assert seen.state is VersionState.SECRET_INVALID


def test_what_was_found_is_not_looked_up_again_for_a_while(endpoint: str) -> None:
    clock = [0.0]
    registry = S3Registry(Secrets(GOOD), timeout=2.0, monotonic=lambda: clock[0])  # type: ignore[arg-type]
    for at in (0.0, FOUND_FOR - 1, FOUND_FOR + 1):
        clock[0] = at
        assert check(endpoint, registry=registry).state is VersionState.FOUND
    assert len(Store.asked) == 2
