"""The door: a bearer token with the right role, and within its rate, before anything else of a request is looked at."""

from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from puzzle_monitor.core.tokens import Role, Token
from puzzle_monitor.service.access import Access

_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token of the monitor's Secret.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


class Gate:
    """A FastAPI dependency: lets tokens pass that have one of these roles."""

    def __init__(self, access: Access, *roles: Role, cost: float = 1.0) -> None:
        self._access, self._roles, self._cost = access, roles, cost

    async def __call__(self, credentials: _Credentials, request: Request) -> Token:
        token = self._access.admit(credentials.credentials if credentials else None, self._roles)
        self._access.charge(token, self._cost)
        request.state.token = token
        return token
