"""Records and pictures to the monitor over HTTP: one try each, and what to make of its answer."""

import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader

from puzzlenet.errors import PuzzleNetError
from puzzlenet.records.settings import TOKEN_FILE, RecordSettings, read_token

CONNECT_S, READ_S = 2.0, 5.0
_MAX_ANSWER = 64 * 1024
_MAX_RETRY_AFTER_S = 60.0
_AGAIN = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a try. ``status`` is 0 when no answer came; ``detail`` is for the log, without secrets."""

    status: int
    detail: str = ""
    retry_after: float | None = None
    conflicts: int = 0

    @property
    def taken(self) -> bool:
        """The monitor has it on disk."""
        return 200 <= self.status < 300

    @property
    def again(self) -> bool:
        """Worth another try: no answer, a fault of the server, or too much at once. Anything else stays refused."""
        return self.status == 0 or self.status >= 500 or self.status in _AGAIN


class Sender:
    """One connection to the monitor, kept open. Used by one thread."""

    def __init__(self, settings: RecordSettings) -> None:
        parts = urlsplit(settings.url)
        self._prefix = parts.path
        options: dict[str, Any] = {"ssl_context": ssl.create_default_context()} if parts.scheme == "https" else {}
        self._pool = urllib3.connection_from_url(
            f"{parts.scheme}://{parts.netloc}",
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            retries=False,  # tries, and the pauses between them, are the recorder's
            maxsize=1,
            **options,
        )
        self._token = Token(settings.token_file)

    def post(self, records: Sequence[bytes]) -> Reply:
        """Send a batch."""
        body = b'{"records":[' + b",".join(records) + b"]}"
        return self._send("POST", "/v1/predictions", body, "application/json")

    def put_picture(self, record: str, jpeg: bytes) -> Reply:
        """Send the picture of a record that was taken."""
        return self._send("PUT", f"/v1/predictions/{record}/image", jpeg, "image/jpeg")

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def _send(self, method: str, path: str, body: bytes, media_type: str) -> Reply:
        headers = {"Content-Type": media_type, "User-Agent": "puzzlenet"} | self._token.header()
        if problem := self._token.missing():
            # Its Secret may come while we serve; until then records wait, as in any other outage.
            return Reply(0, problem)
        try:
            answer = self._pool.urlopen(
                method, self._prefix + path, body, headers, redirect=False, preload_content=False
            )
            try:
                text = _read(answer)
            finally:
                answer.close()
        except (HTTPError, OSError) as exc:
            return Reply(0, f"{type(exc).__name__}: {exc}"[:300])
        return _reply(answer.status, text, answer.headers.get("Retry-After"))


class Token:
    """The bearer token of a file, read again when the file changes, as the kubelet changes a Secret's."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._token = self._problem = ""

    def missing(self) -> str:
        """Why there is no token although a file was named; empty when there is one, or none is needed."""
        return "" if self._token or self._path is None else self._problem

    def header(self) -> dict[str, str]:
        """The header, or none. A file that cannot be read changes nothing: the token of before may still be good."""
        if self._path is not None:
            try:
                status = self._path.stat()
                stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
                if stamp != self._stamp:
                    self._token = read_token(self._path)
                    self._stamp = stamp
            except PuzzleNetError as exc:
                self._problem = str(exc)
            except OSError as exc:
                self._problem = (
                    f"{TOKEN_FILE}: {self._path} cannot be read: {exc.strerror}; mount the monitor's Secret there"
                )
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    """The body, as far as it is of use and comes in time: a connection is kept only when all of it was read."""
    deadline = time.monotonic() + READ_S
    text = b""
    while len(text) < _MAX_ANSWER and time.monotonic() < deadline:
        part = answer.read1(_MAX_ANSWER)
        if not part:
            answer.release_conn()
            break
        text += part
    return text


def _reply(status: int, text: bytes, retry_after: str | None) -> Reply:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    found = found if isinstance(found, dict) else {}
    conflicts = found.get("conflicts")
    detail = found.get("detail")
    return Reply(
        status,
        detail[:300] if isinstance(detail, str) else "",
        _seconds(retry_after),
        len(conflicts) if isinstance(conflicts, list) else 0,
    )


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        return min(_MAX_RETRY_AFTER_S, urllib3.Retry().parse_retry_after(retry_after))
    except (InvalidHeader, ValueError, OverflowError):
        return None
