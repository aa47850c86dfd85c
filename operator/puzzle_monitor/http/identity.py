"""The route that tells the holder of a token what it opens: a page asks once, instead of failing at the first label."""

from typing import Annotated

from fastapi import APIRouter, Depends

from puzzle_monitor.core import answers
from puzzle_monitor.core.tokens import Token
from puzzle_monitor.http.documents import refusals
from puzzle_monitor.http.gate import Gate
from puzzle_monitor.service.access import Access


def routes(access: Access) -> APIRouter:
    """Who the monitor takes the sender for."""
    router = APIRouter(prefix="/v1")
    anybody = Depends(Gate(access))

    @router.get("/token", responses=refusals(), operation_id="token")
    async def token(found: Annotated[Token, anybody]) -> answers.TokenRoles:
        """The name and the roles of the token that was sent."""
        return answers.TokenRoles(name=found.name, roles=tuple(sorted(found.roles)))

    return router
