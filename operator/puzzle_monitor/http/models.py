"""The routes about models: settings from the operator, their state, and accuracy over time."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from puzzle_common.durations import parse_duration
from puzzle_monitor.core import state
from puzzle_monitor.core.models import MAX_SETTINGS, ModelSettings
from puzzle_monitor.core.parse import parse_one
from puzzle_monitor.core.records import Name
from puzzle_monitor.core.tokens import Role
from puzzle_monitor.http.bodies import Bodies
from puzzle_monitor.http.documents import object_body, refusals
from puzzle_monitor.http.gate import Gate
from puzzle_monitor.http.reading import StrictQuery
from puzzle_monitor.service.access import Access
from puzzle_monitor.service.models import Models

_LIST_COST = 10.0
Namespace = Annotated[Name, Path()]
ModelName = Annotated[Name, Path()]


class AccuracyHistoryQuery(StrictQuery):
    """Over which time, and how finely."""

    line: Name | None = None
    window: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[smhd]$")] = "24h"
    """Such as 15m, 24h or 7d."""
    buckets: Annotated[int, Field(ge=1, le=500)] = 60
    """At most so many; none is shorter than a minute."""


def routes(models: Models, access: Access, bodies: Bodies) -> APIRouter:
    """Settings, state, history."""
    router = APIRouter(prefix="/v1")
    _settings(router, models, access, bodies)
    _states(router, models, access)
    return router


def _settings(router: APIRouter, models: Models, access: Access, bodies: Bodies) -> None:
    operator = Depends(Gate(access, Role.OPERATOR))

    @router.put(
        "/models/{namespace}/{name}",
        operation_id="put_model",
        summary="Say what is to be watched of a model",
        dependencies=[operator],
        responses=refusals(409, body=True),
        openapi_extra=object_body("ModelSettings"),
    )
    async def put_model(namespace: Namespace, name: ModelName, request: Request) -> state.ModelState:
        """Replaces the settings, and answers with the model's state. The same again changes nothing."""
        async with bodies.read(request, MAX_SETTINGS, "application/json") as (_, body):
            settings = parse_one(ModelSettings, body)
            return await run_in_threadpool(models.put, namespace, name, settings)

    @router.delete(
        "/models/{namespace}/{name}",
        operation_id="delete_model",
        summary="Stop watching a model",
        dependencies=[operator],
        responses=refusals(422),
        status_code=204,
        response_class=Response,
    )
    def delete_model(namespace: Namespace, name: ModelName) -> None:
        """Forgets the settings. Predictions, labels and counts stay until they are old."""
        models.forget(namespace, name)

    @router.delete(
        "/lines/{namespace}/{model}/{line}/usual",
        operation_id="forget_usual",
        summary="Learn anew what is usual on a line",
        dependencies=[operator],
        responses=refusals(404, 422),
        status_code=204,
        response_class=Response,
    )
    def forget_usual(namespace: Namespace, model: ModelName, line: Annotated[Name, Path()]) -> None:
        """For a new camera, or new light: the problems end, and what comes from now on is what is usual."""
        models.forget_usual(namespace, model, line)


def _states(router: APIRouter, models: Models, access: Access) -> None:
    roles = Role.READ, Role.OPERATOR, Role.DRIFT
    reader, lister = Depends(Gate(access, *roles)), Depends(Gate(access, *roles, cost=_LIST_COST))

    @router.get(
        "/models/{namespace}/{name}", dependencies=[reader], responses=refusals(404, 422), operation_id="get_model"
    )
    def get_model(namespace: Namespace, name: ModelName) -> state.SettingsAndState:
        """What is wanted of a model, and what was found: drift, input, accuracy, labels."""
        return models.get(namespace, name)

    @router.get("/models", dependencies=[lister], responses=refusals(), operation_id="list_models")
    def list_models() -> state.ModelList:
        """The same of every model that there are settings for."""
        return models.all()

    @router.get(
        "/lines/{namespace}/{model}/accuracy-history",
        dependencies=[lister],
        responses=refusals(422),
        operation_id="accuracy_history",
    )
    def accuracy_history(
        namespace: Namespace, model: ModelName, query: Annotated[AccuracyHistoryQuery, Query()]
    ) -> state.AccuracyHistory:
        """Accuracy by version over time, by the newest labels; buckets without predictions are left out."""
        return models.accuracy_history(namespace, model, query.line, parse_duration(query.window), query.buckets)
