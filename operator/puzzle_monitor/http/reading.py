"""The routes that answer questions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from puzzle_common.durations import parse_duration
from puzzle_monitor.core import answers
from puzzle_monitor.core.models import MAX_COUNT
from puzzle_monitor.core.records import Name, RecordId
from puzzle_monitor.core.stored import Filter, Order
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.tokens import Role
from puzzle_monitor.http.documents import refusals
from puzzle_monitor.http.gate import Gate
from puzzle_monitor.service.access import Access
from puzzle_monitor.service.monitor import Monitor

_EXPORT_COST = 100.0
_NDJSON = "application/x-ndjson"
_BINARY = {"type": "string", "format": "binary"}


def _text(value: object) -> object:
    """Numbers would be taken for seconds since 1970, which nobody means who writes them."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("write a time such as 2026-11-23T08:00:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_text)]


class StrictQuery(BaseModel):
    """Parameters that nobody knows are refused: a misspelt filter would answer with everything."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class SeriesQuery(StrictQuery):
    """Whose predictions."""

    namespace: Name | None = None
    model: Name | None = None
    line: Name | None = None
    revision: Name | None = None
    version: Name | None = None

    def filter(self) -> Filter:
        """As the store takes it."""
        return Filter(self.namespace, self.model, self.line, self.revision, self.version)


class SpanQuery(SeriesQuery):
    """Whose, and from when."""

    since: Instant | None = None
    """The earliest `at`, such as 2026-11-23T08:00:00Z."""
    until: Instant | None = None
    """The first `at` that is not wanted any more."""

    def filter(self) -> Filter:
        since = None if self.since is None else micros(self.since)
        until = None if self.until is None else micros(self.until)
        return super().filter().between(since, until)


class ListQuery(SpanQuery):
    """A page of a list."""

    labelled: bool | None = None
    """true: only with a label; false: only without."""
    max_confidence: Annotated[float | None, Field(ge=0, le=1)] = None
    """Only those that the model was no surer of."""
    has_image: bool | None = None
    """true: only with a picture that was kept."""
    order: Order = Order.NEWEST
    """By time; or, together with has_image=true, the least sure first."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str | None, Field(max_length=100)] = None
    """`next` of the page before."""

    def filter(self) -> Filter:
        return super().filter().only(self.labelled, self.max_confidence, self.has_image)


class ExportQuery(SpanQuery):
    """What to export."""

    embeddings: bool = False
    """Add embeddings, which makes it much larger."""
    has_image: bool | None = None
    """true: only those with a picture that was kept: /v1/predictions/{id}/image."""
    since_seq: Annotated[int | None, Field(ge=0, le=MAX_COUNT)] = None
    """Only those whose `seq` is greater: that arrived later. Labels of older ones may be new all the same."""

    def filter(self) -> Filter:
        return super().filter().only(has_image=self.has_image, since_seq=self.since_seq)


class WindowQuery(SeriesQuery):
    """Whose accuracy, over which time."""

    window: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[smhd]$")] = "24h"
    """Such as 15m, 24h or 7d."""


def routes(monitor: Monitor, access: Access) -> APIRouter:
    """Look-up, lists, export, accuracy."""
    router = APIRouter(prefix="/v1")
    _single(router, monitor, access)
    _many(router, monitor, access)
    return router


def _single(router: APIRouter, monitor: Monitor, access: Access) -> None:
    reader = Depends(Gate(access, Role.READ))

    @router.get("/predictions/{prediction_id}", dependencies=[reader], responses=refusals(404, 422), operation_id="get")
    def prediction(prediction_id: Annotated[RecordId, Path()]) -> answers.PredictionWithHistory:
        """One prediction with every label that it was given."""
        return monitor.prediction(prediction_id)

    @router.get(
        "/predictions/{prediction_id}/image",
        dependencies=[reader],
        responses=refusals(404, 422) | {200: {"content": {"image/jpeg": {"schema": _BINARY}}}},
        response_class=Response,
        operation_id="get_image",
    )
    def image(prediction_id: Annotated[RecordId, Path()]) -> Response:
        """Its picture, where one was kept."""
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}
        return Response(monitor.image(prediction_id), media_type="image/jpeg", headers=headers)


def _many(router: APIRouter, monitor: Monitor, access: Access) -> None:
    reader, exporter = Depends(Gate(access, Role.READ)), Depends(Gate(access, Role.READ, cost=_EXPORT_COST))

    @router.get("/predictions", dependencies=[reader], responses=refusals(422), operation_id="list")
    def predictions(query: Annotated[ListQuery, Query()]) -> answers.Page:
        """Predictions by time or by confidence. A page that is full names the next."""
        return monitor.page(query.filter(), query.cursor, query.limit, query.order)

    @router.get(
        "/export",
        dependencies=[exporter],
        responses=refusals(422) | {200: {"content": {_NDJSON: {"schema": {"type": "string"}}}}},
        response_class=StreamingResponse,
        operation_id="export",
    )
    def export(query: Annotated[ExportQuery, Query()]) -> StreamingResponse:
        """All labelled predictions, oldest first, one JSON object (schema Prediction) a line: for training."""
        return StreamingResponse(monitor.export(query.filter(), query.embeddings), media_type=_NDJSON)

    @router.get("/accuracy", dependencies=[reader], responses=refusals(422), operation_id="accuracy")
    def accuracy(query: Annotated[WindowQuery, Query()]) -> answers.AccuracyReport:
        """How often predictions of the last `window` were right, as far as they are labelled by now."""
        return monitor.accuracy(query.filter(), parse_duration(query.window))
