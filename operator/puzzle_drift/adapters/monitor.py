"""The monitor over HTTP, with a token of the role `drift`."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from puzzle_drift.core.records import Record
from puzzle_drift.core.wanted import Key, Model, parse_model
from puzzle_drift.ports import Page, Stored, Unavailable

log = logging.getLogger("puzzle_drift")
PAGE = 500
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class HttpMonitor:
    """The `Monitor` port."""

    def __init__(self, url: str, token_file: Path, page: int = PAGE) -> None:
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT)
        self._token_file, self._page = token_file, page

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def models(self) -> Sequence[Model]:
        """All models; one that makes no sense is logged and left out."""
        body = self._json(self._call("GET", "/v1/models"))
        found = []
        for raw in body if isinstance(body, list) else body.get("models", ()):
            try:
                found.append(parse_model(raw))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                log.warning("a model's settings make no sense: %s", error)
        return found

    def stream(self, key: Key, after: int) -> Page:
        """A page; a record that makes no sense is left out, and always the same."""
        query = {"namespace": key.namespace, "model": key.model, "version": key.version}
        body = self._json(self._call("GET", "/v1/stream", params={**query, "after": after, "limit": self._page}))
        try:
            raws = body["records"]
            return Page(tuple(_records(raws)), int(body["next"]), len(raws) >= self._page)
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"the monitor answers /v1/stream with something else: {error}") from error

    def load(self, key: Key) -> Stored | None:
        """None when nothing was saved."""
        answer = self._call("GET", _place(key), missing=True)
        body = self._json(answer) if answer is not None else None
        if not body or body.get("cursor") is None:
            return None
        try:
            state = base64.b64decode(body.get("state") or "", validate=True)
            return Stored(dict(body.get("report") or {}), int(body["cursor"]), state, str(body.get("config") or ""))
        except (binascii.Error, TypeError, ValueError) as error:
            raise Unavailable(f"the monitor answers {_place(key)} with something else: {error}") from error

    def save(self, key: Key, stored: Stored) -> None:
        """In one request, hence one transaction."""
        body = {
            "report": stored.report,
            "cursor": stored.cursor,
            "state": base64.b64encode(stored.state).decode(),
            "config": stored.config,
        }
        self._call("PUT", _place(key), json=body)

    def _call(self, method: str, path: str, *, missing: bool = False, **content: Any) -> httpx.Response | None:
        """An answer below 400, or None for 404 where that is an answer."""
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise Unavailable(f"PUZZLE_DRIFT_TOKEN_FILE {self._token_file}: {error.strerror}") from error
        try:
            answer = self._client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **content)
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the monitor does not answer {method} {path}: {type(error).__name__}") from error
        if missing and answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Unavailable(f"the monitor refuses the token in {self._token_file}: it needs the role drift")
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise Unavailable(f"the monitor answers {answer.status_code} to {method} {path}: {_detail(answer)}")
        return answer

    @staticmethod
    def _json(answer: httpx.Response | None) -> Any:
        try:
            return None if answer is None else answer.json()
        except ValueError as error:
            raise Unavailable("the monitor answers with something that is not JSON") from error


def _place(key: Key) -> str:
    return "/v1/drift/" + "/".join(quote(part, safe=":") for part in (key.namespace, key.model, key.version))


def _detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:200]
    return str(body.get("detail", ""))[:300] if isinstance(body, Mapping) else ""


def _records(raws: Sequence[Mapping[str, Any]]) -> list[Record]:
    records = []
    for raw in raws:
        try:
            records.append(Record.parse(raw))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("record %s makes no sense: %s", raw.get("seq"), error)
    return records
