"""The monitor over HTTP: what it is to know of a model goes there, what it says comes back, in one request.

A pass never waits for it for long: the request runs in the background, at most one to a model, and an answer serves
until the next one is due. An outage is a value (`Missing`), as with Prometheus.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from puzzle_operator.api.base import JsonObject
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.monitor import MonitorState

_STATE: TypeAdapter[MonitorState] = TypeAdapter(MonitorState)
_LONGEST = 300
"""Characters of what a server says that are repeated."""


@dataclass
class _Talk:
    """What was last sent and heard about one model."""

    settings: JsonObject | None = None
    asked_at: float = 0.0
    state: MonitorState | None = None
    heard_at: float = 0.0
    missing: Missing | None = None
    request: asyncio.Task[None] | None = None


class HttpMonitor:
    """The `Monitor` port. Lives in one event loop."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        token_file: Path | None,
        *,
        every: float = 10.0,
        patience: float = 0.5,
        stale_after: float = 120.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` has the base URL. A pass waits `patience` seconds for an answer, then takes the one before if that
        is not older than `stale_after`."""
        self._client = client
        self._token_file = token_file
        self._every = every
        self._patience = patience
        self._stale_after = stale_after
        self._monotonic = monotonic
        self._talks: dict[tuple[str, str], _Talk] = {}

    async def ask(self, namespace: str, name: str, settings: JsonObject) -> MonitorState | Missing:
        talk = self._talks.setdefault((namespace, name), _Talk())
        if talk.request is None or talk.request.done():
            due = talk.settings is None or self._monotonic() - talk.asked_at >= self._every
            if due or talk.settings != settings:
                talk.settings, talk.asked_at = settings, self._monotonic()
                talk.request = asyncio.create_task(self._refresh(talk, namespace, name, settings))
                await asyncio.wait({talk.request}, timeout=self._patience)
        if talk.state is not None and self._monotonic() - talk.heard_at <= self._stale_after:
            return talk.state
        return talk.missing or self._outage("has not answered yet")

    async def forget(self, namespace: str, name: str, settings: JsonObject) -> None:
        """Send the last settings of a model that is gone. Nobody waits for it, and one that fails is not repeated."""
        talk = self._talks.pop((namespace, name), None)
        if talk is not None:
            gone = _Talk(request=None)
            gone.request = asyncio.create_task(self._refresh(gone, namespace, name, settings))
            await asyncio.wait({gone.request}, timeout=self._patience)

    async def _refresh(self, talk: _Talk, namespace: str, name: str, settings: JsonObject) -> None:
        found = await self._put(namespace, name, settings)
        if isinstance(found, Missing):
            talk.missing = found
            if found.kind is MissingKind.ABSENT:
                talk.state = None
        else:
            talk.state, talk.heard_at, talk.missing = found, self._monotonic(), None

    async def _put(self, namespace: str, name: str, settings: JsonObject) -> MonitorState | Missing:
        headers = {}
        if self._token_file is not None:
            try:
                headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
            except (OSError, UnicodeDecodeError) as exc:
                why = exc.strerror if isinstance(exc, OSError) else "it is not text"
                return self._outage(f"is not asked: PUZZLE_MONITOR_TOKEN_FILE {self._token_file}: {why}")
        path = f"/v1/models/{quote(namespace, safe='')}/{quote(name, safe='')}"
        try:
            answer = await self._client.put(path, json=settings, headers=headers)
            body: Any = answer.json()
        except (httpx.HTTPError, ValueError) as exc:
            return self._outage(f"does not answer ({type(exc).__name__})")
        if answer.status_code != httpx.codes.OK:
            return self._refused(answer.status_code, body)
        try:
            return read_state(body)
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            return self._outage(f"answers with something else: {where}: {first['msg']}")

    def _refused(self, code: int, body: Any) -> Missing:
        if code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return self._outage(f"answers {code}: the token in {self._token_file} needs the role operator")
        detail = str(body.get("detail", ""))[:_LONGEST] if isinstance(body, dict) else ""
        if code == httpx.codes.NOT_FOUND:
            return Missing(
                MissingKind.ABSENT, f"{self._client.base_url} knows no models: is it an older puzzle-monitor?"
            )
        return self._outage(f"answers {code}: {detail}" if detail else f"answers {code}")

    def _outage(self, what: str) -> Missing:
        return Missing(MissingKind.UNAVAILABLE, f"the monitor at {self._client.base_url} {what}")


def read_state(body: Any) -> MonitorState:
    """An answer of the monitor; fields that are not known are left out. Raises pydantic's ValidationError."""
    if isinstance(body, dict):
        body = {**body, "labels": _renamed(body.get("labels", {}), "bytes", "size")}
        if isinstance(body.get("accuracy"), list):
            body["accuracy"] = [_renamed(entry, "window_s", "window") for entry in body["accuracy"]]
    return _STATE.validate_python(body)


def _renamed(entry: Any, name: str, ours: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        return entry
    return {(ours if key == name else key): value for key, value in entry.items()}


__all__ = ["HttpMonitor", "read_state"]
