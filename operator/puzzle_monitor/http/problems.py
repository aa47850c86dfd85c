"""Every refusal and every failure as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from puzzle_monitor.core import answers
from puzzle_monitor.core.faults import Refused, path
from puzzle_monitor.ports import Unavailable

MEDIA_TYPE = "application/problem+json"
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def install(app: FastAPI) -> None:
    """Have the app answer its errors this way."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _bug)


def problem(
    status: int, detail: str, faults: tuple[answers.Fault, ...] = (), headers: dict[str, str] | None = None
) -> Response:
    """An answer with a problem in it."""
    body = answers.Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=faults)
    return Response(body.model_dump_json(), status, headers=headers, media_type=MEDIA_TYPE)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - for the type checker
    headers = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["Retry-After"] = _seconds(error.retry_after)
    if error.status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}:
        headers["Connection"] = "close"  # the rest of the body is not read
    faults = tuple(answers.Fault(field=fault.field, message=fault.message) for fault in error.faults)
    return problem(error.status, error.detail, faults, headers)


async def _unavailable(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)  # noqa: S101 - for the type checker
    return problem(503, str(error), headers={"Retry-After": _seconds(error.retry_after)})


async def _invalid(_: Request, error: Exception) -> Response:
    """Parameters of the path and the query, which FastAPI checks for us."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type checker
    faults = tuple(_fault(item) for item in error.errors()[:10])
    return problem(422, f"{faults[0].field}: {faults[0].message}", faults)


def _fault(item: dict[str, Any]) -> answers.Fault:
    message = str(item["msg"]).removeprefix("Value error, ")
    return answers.Fault(field=path("", item["loc"][1:]), message=message[:1].lower() + message[1:])


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _methods(request)
        return problem(405, f"{request.method} is not possible here; {allowed} is", headers={"Allow": allowed})
    detail = "there is nothing here; /openapi.json lists what there is" if error.status_code == 404 else error.detail
    return problem(error.status_code, detail, headers=dict(error.headers or {}))


def _methods(request: Request) -> str:
    """What may be done here: Starlette names the methods of the first route with this path only.

    Routes of a router that was included are not listed, so each method is tried.
    """
    routes = request.app.routes
    fits = [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ", ".join(fits)


async def _gone(_: Request, __: Exception) -> Response:
    """Nobody reads this; without it the log would have a traceback for every sender that gave up."""
    return problem(400, "the body ended too early")


async def _bug(_: Request, error: Exception) -> Response:
    # Starlette logs the traceback; a stranger is not shown it.
    return problem(500, f"a fault of the monitor itself: {type(error).__name__}; its log has the details")


def _seconds(value: float) -> str:
    return str(max(1, math.ceil(value)))
