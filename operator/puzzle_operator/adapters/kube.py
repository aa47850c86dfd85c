"""JSON over the Kubernetes API: paths in, plain values out, errors of `ports`.

The generated client classes are of no use for server-side apply and custom resources; what is used of the
`kubernetes` package is its configuration, its TLS and its credentials.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from kubernetes import client, config

from puzzle_operator.api.base import JsonObject
from puzzle_operator.ports import Conflict, Forbidden, Rejected, Unavailable

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class NotFoundError(Exception):
    """404. `known_kind` is False when the API server does not know the resource type at all."""

    def __init__(self, path: str, known_kind: bool) -> None:
        super().__init__(path)
        self.known_kind = known_kind


class Kube:
    """One connection pool; every call has a timeout and runs in a thread of its own."""

    def __init__(
        self, api: client.ApiClient, timeout: float = 10.0, seen: Callable[[str, int, float], None] | None = None
    ) -> None:
        """`seen` is told the verb, the HTTP code of every answer (0: none), and the seconds it took."""
        self._api = api
        self._timeout = timeout
        self._seen = seen or (lambda _verb, _code, _seconds: None)
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="kube")

    @classmethod
    def connect(cls, timeout: float = 10.0, seen: Callable[[str, int, float], None] | None = None) -> Kube:
        """With the pod's service account, or else with KUBECONFIG.

        Raises:
            Forbidden: if neither is there.
        """
        settings = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            try:
                config.load_kube_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            except config.ConfigException as exc:
                message = f"no cluster: not in a pod, and KUBECONFIG names no usable file ({exc})"
                raise Forbidden(message) from exc
        settings.connection_pool_maxsize = 16
        settings.retries = False
        return cls(client.ApiClient(settings), timeout, seen)

    async def get(self, path: str, **query: str) -> JsonObject:
        """GET.

        Raises:
            NotFoundError: on 404.
            Unavailable, Forbidden, Rejected: see `ports`.
        """
        return await self._call("GET", path, query, None, None)

    async def patch(self, path: str, body: Any, kind: str, **query: str) -> JsonObject:
        """PATCH with one of the content types above. Raises as `get`."""
        return await self._call("PATCH", path, query, body, kind)

    async def delete(self, path: str, **query: str) -> JsonObject:
        """DELETE. Raises as `get`."""
        return await self._call("DELETE", path, query, None, None)

    async def post(self, path: str, body: JsonObject) -> JsonObject:
        """POST. Raises as `get`."""
        return await self._call("POST", path, {}, body, "application/json")

    async def _call(self, verb: str, path: str, query: dict[str, str], body: Any, kind: str | None) -> JsonObject:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._send, verb, path, query, body, kind)

    def _send(self, verb: str, path: str, query: dict[str, str], body: Any, kind: str | None) -> JsonObject:
        headers = {"Accept": "application/json", "User-Agent": "puzzle-operator"}
        if kind:
            headers["Content-Type"] = kind
        request = self._api.param_serialize(
            verb,
            path,
            query_params=list(query.items()),
            header_params=headers,
            # Text: the client would take an apply patch for a form otherwise.
            body=json.dumps(body) if kind == APPLY_PATCH else body,
            auth_settings=["BearerToken"],
        )
        began = time.monotonic()
        try:
            answer = self._api.call_api(*request, _request_timeout=(self._timeout, self._timeout))
            text = answer.read()  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, OSError, client.ApiException) as exc:
            self._seen(verb, 0, time.monotonic() - began)
            raise Unavailable(f"the Kubernetes API does not answer: {type(exc).__name__}") from exc
        self._seen(verb, answer.status, time.monotonic() - began)
        return _checked(verb, path, answer.status, text or b"{}")


def _checked(verb: str, path: str, code: int, text: bytes) -> JsonObject:
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    if not isinstance(found, dict):
        found = {}
    if 200 <= code < 300:
        return found
    message = str(found.get("message") or text[:200].decode(errors="replace").strip())
    if code == 404:
        raise NotFoundError(path, known_kind=bool((found.get("details") or {}).get("name")))
    if code == 409:
        raise Conflict(message)
    if code in {401, 403}:
        raise Forbidden(message)
    if code == 429 or code >= 500:
        raise Unavailable(f"the Kubernetes API answers {code}: {message}")
    raise Rejected(f"the Kubernetes API refuses {verb} {path}: {message}")
