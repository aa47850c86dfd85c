"""An HTTP client that tells how its requests went, for the operator's own metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx


class ObservedClient(httpx.AsyncClient):
    """httpx's client. Its event hooks say nothing of a request that gets no answer, and a transport of our own would
    switch off the proxies of the environment, so `send` is watched."""

    def __init__(self, seen: Callable[[int, float], None], **options: Any) -> None:
        """`seen` is told the HTTP code of every answer (0: none) and the seconds it took, body included."""
        super().__init__(**options)
        self._seen = seen

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        code, began = 0, time.monotonic()
        try:
            answer = await super().send(request, **options)
            code = answer.status_code
        finally:
            self._seen(code, time.monotonic() - began)
        return answer
