"""The routes for Kubernetes and Prometheus, without a token: they tell nothing about a single piece."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from puzzle_monitor.http.documents import refusals
from puzzle_monitor.service.monitor import Monitor


def routes(monitor: Monitor) -> APIRouter:
    """Probes and metrics."""
    router = APIRouter()

    down = refusals(503, guarded=False)

    @router.get("/healthz", response_class=PlainTextResponse, responses=down, operation_id="healthz")
    async def healthz() -> str:
        """The process works. Says nothing about the database: restarting the monitor would not mend that."""
        monitor.alive()
        return "ok\n"

    @router.get("/readyz", response_class=PlainTextResponse, responses=down, operation_id="readyz")
    def readyz() -> str:
        """Records can be taken now."""
        monitor.ready()
        return "ok\n"

    @router.get("/metrics", response_class=PlainTextResponse, operation_id="metrics")
    def metrics() -> Response:
        """For Prometheus."""
        return Response(monitor.metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
