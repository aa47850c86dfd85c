"""The application: routes, errors and the background work, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from puzzle_monitor.http import decisions, drift, identity, models, operations, problems, reading, writing
from puzzle_monitor.http.bodies import Bodies
from puzzle_monitor.http.documents import complete
from puzzle_monitor.http.pages import routes as pages
from puzzle_monitor.service.access import Access
from puzzle_monitor.service.models import Models
from puzzle_monitor.service.monitor import Monitor
from puzzle_monitor.service.retention import Retention
from puzzle_monitor.service.telemetry import Telemetry

_DESCRIPTION = """Stores what PuzzleNet predicted and what people found to be true, and counts how often the two agree.

Everything under /v1 needs `Authorization: Bearer TOKEN`. A refusal is `application/problem+json`, names the field, and
has changed nothing."""


class _Document(FastAPI):
    """FastAPI with the OpenAPI document completed."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            plain = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            self.openapi_schema = complete(plain)
        return self.openapi_schema


class _Counted:
    """Counts answers by route and status."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only known routes: a name that a stranger chose would become a time series.
                route = getattr(scope.get("route"), "path", "none")
                self._telemetry.answered(f"{scope['method']} {route}" if route != "none" else route, message["status"])
            await send(message)

        await self._app(scope, receive, watch)


def create_app(
    monitor: Monitor, access: Access, retention: Retention | None, prune_interval: float, version: str
) -> FastAPI:
    """The whole API over these services."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        monitor.commits.start()
        pruning = asyncio.create_task(retention.forever(prune_interval)) if retention else None
        try:
            yield
        finally:
            if pruning:
                pruning.cancel()
                with suppress(asyncio.CancelledError):
                    await pruning
            await asyncio.to_thread(monitor.commits.stop)

    app = _Document(
        title="PuzzleModel monitor",
        version=version,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    bodies, found = Bodies(), Models(monitor)
    app.include_router(writing.routes(monitor, access, bodies))
    app.include_router(reading.routes(monitor, access))
    app.include_router(identity.routes(access))
    app.include_router(models.routes(found, access, bodies))
    app.include_router(decisions.routes(found, access, bodies))
    app.include_router(drift.routes(found, access, bodies))
    app.include_router(operations.routes(monitor))
    app.include_router(pages.routes())
    app.add_middleware(_Counted, telemetry=monitor.telemetry)
    return app
