"""The monitor as the trainer sees it: labelled predictions and their pictures, read only."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import urllib3

from puzzlenet.errors import MonitorError
from puzzlenet.images import MAX_BYTES
from puzzlenet.retrain.champion import Made, Told

T = TypeVar("T")
_DECISIONS = 500
"""In one page."""
_THREADS = 4
_PAUSE = 2.0
_AGAIN = (429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """A prediction whose truth somebody said, and whose picture was kept."""

    id: str
    line: str
    truth: str
    at: datetime
    received: datetime
    format: str = ""
    """In which the camera sent it; what is kept is a JPEG."""

    @property
    def late_s(self) -> float:
        """How long after it was taken the picture's record arrived."""
        return (self.received - self.at).total_seconds()


class Monitor:
    """Raises MonitorError with the reason; ``patience`` is how many seconds a monitor that is away is waited for."""

    def __init__(self, url: str, token_file: Path | None, patience: float = 0.0) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._patience = patience
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5.0, read=60.0), maxsize=_THREADS, retries=False
        )

    def labelled(self, namespace: str, model: str) -> list[Labelled]:
        """Labelled predictions with a picture, oldest first."""
        query = urlencode({"namespace": namespace, "model": model, "has_image": "true"})
        data = self._get(f"/v1/export?{query}")
        rows = []
        for number, line in enumerate(data.splitlines(), start=1):
            try:
                row = json.loads(line)
                if row["has_image"] and row["truth"] is not None:
                    rows.append(_labelled(row))
            except (ValueError, KeyError, TypeError) as exc:
                raise MonitorError(f"line {number} of {self._url}/v1/export makes no sense ({exc!r})") from exc
        return rows

    def newest(self, namespace: str, model: str, most: int, since: str | None = None) -> list[Labelled]:
        """The newest labelled predictions with a picture, at most 1,000 of them; ``since``: none from before."""
        wanted = {"namespace": namespace, "model": model, "labelled": "true", "has_image": "true", "limit": str(most)}
        page = self._get("/v1/predictions?" + urlencode(wanted | ({"since": since} if since else {})))
        try:
            return [_labelled(row) for row in json.loads(page)["predictions"]]
        except (ValueError, KeyError, TypeError) as exc:
            raise MonitorError(f"{self._url}/v1/predictions makes no sense ({exc!r})") from exc

    def made(self, prediction: str) -> Made:
        """What made a prediction, and when."""
        path = f"/v1/predictions/{quote(prediction, safe='')}"
        try:
            row = json.loads(self._get(path))
            names = {name: str(row[name]) for name in ("version", "namespace", "model")}
            return Made(**names, at=datetime.fromisoformat(str(row["at"])))
        except (ValueError, KeyError, TypeError) as exc:
            raise MonitorError(f"{self._url}{path} makes no sense ({exc!r})") from exc

    def decisions(self, namespace: str, model: str) -> list[Told]:
        """What the operator decided about a model's champion, oldest first."""
        path = f"/v1/models/{quote(namespace, safe='')}/{quote(model, safe='')}/decisions?limit={_DECISIONS}"
        found: list[Told] = []
        before: int | None = None
        while True:
            data = self._get(path if before is None else f"{path}&before={before}")
            try:
                body = json.loads(data)
                found += [_told(row) for row in body["decisions"]]
                before = None if body["next"] is None else int(body["next"])
            except (ValueError, KeyError, TypeError) as exc:
                raise MonitorError(f"{self._url}{path} makes no sense ({exc!r})") from exc
            if before is None:
                return found[::-1]

    def pictures(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The pictures of predictions; one that was pruned meanwhile is left out."""
        with ThreadPoolExecutor(_THREADS) as pool:
            found = dict(zip(ids, pool.map(self._picture, ids), strict=True))
        return {name: data for name, data in found.items() if data is not None}

    def _picture(self, prediction: str) -> bytes | None:
        try:
            return self._get(f"/v1/predictions/{quote(prediction, safe='')}/image", MAX_BYTES)
        except MonitorError as exc:
            if "404" in str(exc):
                return None
            raise

    def _get(self, path: str, limit: int | None = None) -> bytes:
        return self._patiently(lambda: self._once(path, limit))

    def _patiently(self, act: Callable[[], T]) -> T:
        until = time.monotonic() + self._patience
        while True:
            try:
                return act()
            except MonitorError as exc:
                if not exc.retry or time.monotonic() + _PAUSE > until:
                    raise
                time.sleep(_PAUSE)

    def _once(self, path: str, limit: int | None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token()}"} if self._token_file else {}
        try:
            response = self._pool.request("GET", self._url + path, headers=headers, preload_content=False)
            try:
                data: bytes = response.read() if limit is None else response.read(limit + 1)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise MonitorError(
                f"the monitor at {self._url} cannot be reached ({type(exc).__name__}): check --monitor", retry=True
            ) from exc
        if response.status == 200:
            return data
        raise MonitorError(
            f"{self._url}{path.partition('?')[0]} answered {response.status}: {_detail(data)}",
            retry=response.status in _AGAIN,
        )

    def _token(self) -> str:
        assert self._token_file is not None  # noqa: S101 - the caller asked
        try:
            return self._token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise MonitorError(f"--monitor-token-file {self._token_file} cannot be read") from exc


def _labelled(row: dict[str, Any]) -> Labelled:
    return Labelled(
        id=str(row["id"]),
        line=str(row["line"]),
        truth=str(row["truth"]),
        at=datetime.fromisoformat(str(row["at"])),
        received=datetime.fromisoformat(str(row["received"])),
        format=str((row.get("image") or {}).get("format", "")),
    )


def _told(row: dict[str, object]) -> Told:
    return Told(
        at=datetime.fromisoformat(str(row["at"])),
        line=str(row["line"]),
        kind=str(row["kind"]),
        version=str(row["version"]),
        reason=str(row["message"]),
    )


def _detail(data: bytes) -> str:
    """The sentence of a problem document, or the beginning of whatever came."""
    try:
        return str(json.loads(data)["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return data[:100].decode(errors="replace") or "no reason given"
