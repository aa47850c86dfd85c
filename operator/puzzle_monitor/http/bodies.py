"""Bodies, never more of them than there is room for: a limit for each, one for all together, and one in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from puzzle_monitor.core.faults import Refused
from puzzle_monitor.ports import Unavailable

TIMEOUT_S = 30.0
TOGETHER = 48 * 1024 * 1024


class Bodies:
    """Reads bodies within a budget of bytes that are in memory at the same time."""

    def __init__(self, together: int = TOGETHER, timeout: float = TIMEOUT_S) -> None:
        self._free = together
        self._timeout = timeout

    @asynccontextmanager
    async def read(self, request: Request, limit: int, *media_types: str) -> AsyncIterator[tuple[str, bytes]]:
        """The media type and the body. Its bytes count against the budget until the request is done with.

        Raises:
            Refused: 413, 415, 408 or 400.
            Unavailable: if the budget is used up.
        """
        media_type = _media_type(request, media_types)
        size = _declared(request, limit)
        if size > self._free:
            raise Unavailable("too many large requests at the same time", retry_after=1.0)
        self._free -= size
        try:
            async with asyncio.timeout(self._timeout):
                body = await _collect(request, limit)
            if not body:
                raise Refused(400, "the body is empty")
            yield media_type, body
        except TimeoutError as error:
            raise Refused(408, f"the body did not arrive within {self._timeout:.0f} s") from error
        finally:
            self._free += size


def _media_type(request: Request, wanted: tuple[str, ...]) -> str:
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in wanted:
        raise Refused(415, f"Content-Type is {sent[:60] or 'missing'!r}; send {' or '.join(wanted)}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "compressed bodies are not taken; send it without Content-Encoding")
    return sent


def _declared(request: Request, limit: int) -> int:
    """How much room to keep: what the header says, or all there may be."""
    text = request.headers.get("content-length")
    if text is None or not text.isascii() or not text.isdigit():
        return limit
    if int(text) > limit:
        raise _too_large(limit)
    return int(text)


async def _collect(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit:,} bytes; send it in parts")
