"""The monitor over HTTP: what it is to know of a model goes there, what it says comes back, in one request.

A pass never waits for it for long: the request runs in the background, at most one to a model, and an answer serves
until the next one is due. An outage is a value (`Missing`), as with Prometheus.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from puzzle_operator.api.base import JsonObject
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.monitor import MonitorState, Registration

_STATE: TypeAdapter[MonitorState] = TypeAdapter(MonitorState)
log = logging.getLogger("puzzle_operator")
_AT_ONCE = 50
"""Decisions in one request."""
_SENSELESS = frozenset({httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE, 422})
"""Answers about what was sent: another of the same kind may fare better."""
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
    told: set[str] = field(default_factory=set)
    """Ids of decisions that it took since it was last heard."""
    refused: set[str] = field(default_factory=set)
    telling: asyncio.Task[None] | None = None
    tell_after: float = 0.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a server said."""

    code: int
    body: Any


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

    async def tell(self, namespace: str, name: str, decisions: Sequence[JsonObject]) -> None:
        talk = self._talks.get((namespace, name))
        on_record = talk.state.decisions if talk is not None and talk.state is not None else None
        if talk is None or on_record is None or (talk.telling is not None and not talk.telling.done()):
            return
        known = {*on_record, *talk.told, *talk.refused}
        missing = [one for one in decisions if one["id"] not in known][:_AT_ONCE]
        if missing and self._monotonic() >= talk.tell_after:
            talk.telling = asyncio.create_task(self._tell(talk, namespace, name, missing))

    async def forget(self, namespace: str, name: str) -> Missing | None:
        talk = self._talks.pop((namespace, name), None)
        waiting = [task for task in (talk.request, talk.telling) if task is not None] if talk is not None else []
        if waiting:
            # A PUT that is on its way would bring the model back.
            await asyncio.wait(waiting)
        answer = await self._ask("DELETE", _path(namespace, name))
        return answer if isinstance(answer, Missing) else None

    async def registered(self) -> tuple[Registration, ...] | Missing:
        body = await self._ask("GET", "/v1/models")
        if isinstance(body, Missing):
            return body
        try:
            return tuple(
                Registration(str(one["namespace"]), str(one["name"]), str(one["settings"].get("owner") or ""))
                for one in body["models"]
            )
        except (KeyError, TypeError, AttributeError) as exc:
            return self._outage(f"answers with something else: {exc!r}")

    async def _refresh(self, talk: _Talk, namespace: str, name: str, settings: JsonObject) -> None:
        found = await self._put(namespace, name, settings)
        if isinstance(found, Missing):
            talk.missing = found
            if found.kind is MissingKind.ABSENT:
                talk.state = None
        else:
            talk.state, talk.heard_at, talk.missing = found, self._monotonic(), None
            talk.told.clear()  # what is on record now is in the answer

    async def _tell(self, talk: _Talk, namespace: str, name: str, decisions: Sequence[JsonObject]) -> None:
        """Send them together; where that is refused, one by one, so that a bad one does not hold up the others."""
        path = f"{_path(namespace, name)}/decisions"
        answer = await self._call("POST", path, {"decisions": list(decisions)})
        if isinstance(answer, _Answer) and answer.code == httpx.codes.OK:
            talk.told.update(one["id"] for one in decisions)
            log.info("%s/%s: %d decisions are on record", namespace, name, len(decisions))
        elif isinstance(answer, _Answer) and answer.code in _SENSELESS and len(decisions) > 1:
            for one in decisions:
                await self._tell(talk, namespace, name, [one])
        elif isinstance(answer, _Answer) and answer.code in _SENSELESS:
            talk.refused.add(decisions[0]["id"])
            log.error("%s/%s: a decision is refused: %s", namespace, name, self._refused(answer).reason)
        else:
            why = self._refused(answer) if isinstance(answer, _Answer) else answer
            log.warning("%s/%s: decisions are not on record yet: %s", namespace, name, why.reason)
            talk.tell_after = self._monotonic() + self._every

    async def _put(self, namespace: str, name: str, settings: JsonObject) -> MonitorState | Missing:
        body = await self._ask("PUT", _path(namespace, name), settings)
        if isinstance(body, Missing):
            return body
        try:
            return read_state(body)
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            return self._outage(f"answers with something else: {where}: {first['msg']}")

    async def _ask(self, verb: str, path: str, body: JsonObject | None = None) -> Any:
        """One request; the document that is answered, or why there is none."""
        answer = await self._call(verb, path, body)
        if isinstance(answer, Missing):
            return answer
        return answer.body if httpx.codes.is_success(answer.code) else self._refused(answer)

    async def _call(self, verb: str, path: str, body: JsonObject | None) -> _Answer | Missing:
        headers = {}
        if self._token_file is not None:
            try:
                headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
            except (OSError, UnicodeDecodeError) as exc:
                why = exc.strerror if isinstance(exc, OSError) else "it is not text"
                return self._outage(f"is not asked: PUZZLE_MONITOR_TOKEN_FILE {self._token_file}: {why}")
        try:
            answer = await self._client.request(verb, path, json=body, headers=headers)
            found: Any = None if answer.status_code == httpx.codes.NO_CONTENT else answer.json()
        except (httpx.HTTPError, ValueError) as exc:
            return self._outage(f"does not answer ({type(exc).__name__})")
        return _Answer(answer.status_code, found)

    def _refused(self, answer: _Answer) -> Missing:
        code, body = answer.code, answer.body
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


def _path(namespace: str, name: str) -> str:
    return f"/v1/models/{quote(namespace, safe='')}/{quote(name, safe='')}"


def _renamed(entry: Any, name: str, ours: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        return entry
    return {(ours if key == name else key): value for key, value in entry.items()}


__all__ = ["HttpMonitor", "read_state"]
