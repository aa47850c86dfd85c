"""The routes of the record of decisions: the operator appends, whoever may read reads. There is no third."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from puzzle_monitor.core.decisions import MAX_DECISION_BODY, DecisionBatch, DecisionPage, DecisionsTaken
from puzzle_monitor.core.models import MAX_COUNT
from puzzle_monitor.core.parse import parse_one
from puzzle_monitor.core.tokens import Role
from puzzle_monitor.http.bodies import Bodies
from puzzle_monitor.http.documents import object_body, refusals
from puzzle_monitor.http.gate import Gate
from puzzle_monitor.http.models import ModelName, Namespace
from puzzle_monitor.http.reading import StrictQuery
from puzzle_monitor.service.access import Access
from puzzle_monitor.service.models import Models

_PLACE = "/models/{namespace}/{name}/decisions"


class DecisionQuery(StrictQuery):
    """Which page."""

    before: Annotated[int | None, Field(ge=1, le=MAX_COUNT)] = None
    """`next` of the page before."""
    limit: Annotated[int, Field(ge=1, le=500)] = 100


def routes(models: Models, access: Access, bodies: Bodies) -> APIRouter:
    """Append and read."""
    router = APIRouter(prefix="/v1")
    operator = Depends(Gate(access, Role.OPERATOR))
    reader = Depends(Gate(access, Role.READ, Role.OPERATOR, Role.DRIFT))

    @router.post(
        _PLACE,
        operation_id="append_decisions",
        summary="Put decisions about a model's champion on record",
        dependencies=[operator],
        responses=refusals(body=True),
        openapi_extra=object_body("DecisionBatch"),
    )
    async def append_decisions(namespace: Namespace, name: ModelName, request: Request) -> DecisionsTaken:
        """All of them or none. One whose id is on record changes nothing, so that sending it again does no harm."""
        async with bodies.read(request, MAX_DECISION_BODY, "application/json") as (_, body):
            batch = parse_one(DecisionBatch, body)
            return await run_in_threadpool(models.append, namespace, name, batch.decisions)

    @router.get(_PLACE, dependencies=[reader], responses=refusals(422), operation_id="list_decisions")
    def list_decisions(namespace: Namespace, name: ModelName, query: Annotated[DecisionQuery, Query()]) -> DecisionPage:
        """Who was champion when, and why: the newest first. It outlives the model, and no retention applies."""
        return models.decisions(namespace, name, query.before, query.limit)

    return router
