"""The routes that store something."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.concurrency import run_in_threadpool

from puzzle_monitor.core import answers
from puzzle_monitor.core.models import MAX_SETTINGS
from puzzle_monitor.core.parse import parse_feedback, parse_feedback_csv, parse_records, parse_retraction
from puzzle_monitor.core.records import MAX_BODY, MAX_IMAGE, RecordId
from puzzle_monitor.core.tokens import Role, Token
from puzzle_monitor.http.bodies import Bodies
from puzzle_monitor.http.documents import batch_body, feedback_body, image_body, object_body, refusals
from puzzle_monitor.http.gate import Gate
from puzzle_monitor.service.access import Access
from puzzle_monitor.service.monitor import Monitor

_IMAGE_COST = 5.0


def routes(monitor: Monitor, access: Access, bodies: Bodies) -> APIRouter:
    """Predictions, labels and pictures."""
    router = APIRouter(prefix="/v1")
    _predictions(router, monitor, access, bodies)
    _feedback(router, monitor, access, bodies)
    _images(router, monitor, access, bodies)
    return router


def _predictions(router: APIRouter, monitor: Monitor, access: Access, bodies: Bodies) -> None:
    sender = Depends(Gate(access, Role.INGEST))

    @router.post(
        "/predictions",
        operation_id="ingest",
        summary="Store a batch of predictions",
        responses=refusals(body=True),
        openapi_extra=batch_body(),
    )
    async def predictions(request: Request, token: Annotated[Token, sender]) -> answers.Ingested:
        """All of the batch or none of it, once, however often it is sent. Answered when it is on disk."""
        async with bodies.read(request, MAX_BODY, "application/json") as (_, body):
            records = parse_records(body, monitor.clock())
            access.charge(token, len(records) - 1)
            return await monitor.ingest(records)


def _feedback(router: APIRouter, monitor: Monitor, access: Access, bodies: Bodies) -> None:
    inspector = Depends(Gate(access, Role.FEEDBACK))

    @router.post(
        "/feedback",
        operation_id="feedback",
        summary="Say what pieces truly were",
        responses=refusals(body=True),
        openapi_extra=feedback_body(),
    )
    async def feedback(request: Request, token: Annotated[Token, inspector]) -> answers.FeedbackTaken:
        """One as an object, many as a list or as CSV with a header. May come before the prediction, and more than
        once: the newest `at` counts, all of them are kept."""
        async with bodies.read(request, MAX_BODY, "application/json", "text/csv") as (media_type, body):
            parse = parse_feedback_csv if media_type == "text/csv" else parse_feedback
            items = parse(body, monitor.clock())
            access.charge(token, len(items) - 1)
            return await monitor.feedback(items)

    @router.post(
        "/feedback/retract",
        operation_id="retract",
        summary="Take back a label",
        responses=refusals(404, body=True),
        dependencies=[inspector],
        openapi_extra=object_body("Retraction"),
    )
    async def retract(request: Request) -> answers.LabelRetracted:
        """The history keeps it, but the newest label that was not taken back counts. The same again changes nothing."""
        async with bodies.read(request, MAX_SETTINGS, "application/json") as (_, body):
            wanted = parse_retraction(body, monitor.clock())
            return await run_in_threadpool(monitor.retract, wanted)


def _images(router: APIRouter, monitor: Monitor, access: Access, bodies: Bodies) -> None:
    sender = Depends(Gate(access, Role.INGEST, cost=_IMAGE_COST))

    @router.put(
        "/predictions/{prediction_id}/image",
        operation_id="put_image",
        summary="Keep the picture of a prediction",
        dependencies=[sender],
        responses=refusals(404, 409, body=True),
        openapi_extra=image_body(),
    )
    async def image(prediction_id: Annotated[RecordId, Path()], request: Request) -> answers.ImageTaken:
        """For the sample of which pictures are kept. The same one again changes nothing."""
        async with bodies.read(request, MAX_IMAGE, "image/jpeg") as (_, body):
            return await monitor.put_image(prediction_id, body)
