"""The routes of the drift worker: the stream that it follows, and the place where it leaves what it found."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from puzzle_monitor.core import state
from puzzle_monitor.core.models import MAX_COUNT, MAX_DRIFT, MAX_HISTORY, DriftState
from puzzle_monitor.core.parse import parse_one
from puzzle_monitor.core.records import Name
from puzzle_monitor.core.stored import DriftKey, Filter
from puzzle_monitor.core.tokens import Role
from puzzle_monitor.http.bodies import Bodies
from puzzle_monitor.http.documents import object_body, refusals
from puzzle_monitor.http.gate import Gate
from puzzle_monitor.http.reading import Instant, StrictQuery
from puzzle_monitor.service.access import Access
from puzzle_monitor.service.models import Models

_STREAM_COST = 10.0
_STATE_COST = 10.0


class StreamQuery(StrictQuery):
    """Which version, and from where on."""

    namespace: Name
    model: Name
    version: Name
    after: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    """`next` of the answer before; 0 for the beginning."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 500


class DriftHistoryQuery(StrictQuery):
    """Which points."""

    since: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_HISTORY)] = 500
    """The newest so many."""


def _key(
    namespace: Annotated[Name, Path()], model: Annotated[Name, Path()], version: Annotated[Name, Path()]
) -> DriftKey:
    return DriftKey(namespace, model, version)


Key = Annotated[DriftKey, Depends(_key)]
_PLACE = "/drift/{namespace}/{model}/{version}"


def routes(models: Models, access: Access, bodies: Bodies) -> APIRouter:
    """Stream, state, history."""
    router = APIRouter(prefix="/v1")
    _stream(router, models, access)
    _state(router, models, access, bodies)
    _history(router, models, access)
    return router


def _stream(router: APIRouter, models: Models, access: Access) -> None:
    follower = Depends(Gate(access, Role.DRIFT, cost=_STREAM_COST))

    @router.get("/stream", dependencies=[follower], responses=refusals(422), operation_id="stream")
    def stream(query: Annotated[StreamQuery, Query()]) -> state.Stream:
        """Predictions of one version in order of arrival. An empty answer means: no more for now."""
        wanted = Filter(namespace=query.namespace, model=query.model, version=query.version)
        return models.stream(wanted, query.after, query.limit)


def _state(router: APIRouter, models: Models, access: Access, bodies: Bodies) -> None:
    worker = Depends(Gate(access, Role.DRIFT, cost=_STATE_COST))

    @router.get(_PLACE, dependencies=[worker], responses=refusals(404, 422), operation_id="get_drift")
    def get_drift(key: Key) -> DriftState:
        """Report, cursor and state, as they were stored together."""
        return models.drift(key)

    @router.put(
        _PLACE,
        operation_id="put_drift",
        summary="Store what was found of drift",
        dependencies=[worker],
        responses=refusals(body=True),
        openapi_extra=object_body("DriftState"),
    )
    async def put_drift(key: Key, request: Request) -> state.DriftStored:
        """All of it in one transaction, with a point of history. The same again changes nothing."""
        async with bodies.read(request, MAX_DRIFT, "application/json") as (_, body):
            sent = await run_in_threadpool(parse_one, DriftState, body)
            return await run_in_threadpool(models.put_drift, key, sent)


def _history(router: APIRouter, models: Models, access: Access) -> None:
    reader = Depends(Gate(access, Role.READ, Role.OPERATOR, Role.DRIFT))

    @router.get(f"{_PLACE}/history", dependencies=[reader], responses=refusals(422), operation_id="drift_history")
    def drift_history(key: Key, query: Annotated[DriftHistoryQuery, Query()]) -> state.DriftHistory:
        """Drift of one version over time, oldest first."""
        return models.drift_history(key, query.since, query.limit)
