"""The API server, with kubectl's flags: kubeconfig, context, namespace. Errors leave it as sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import urllib3
import yaml
from kubernetes import client, config
from pydantic import ValidationError

from puzzle_operator.adapters.cluster import KubeCluster
from puzzle_operator.adapters.kube import MERGE_PATCH, Kube, NotFoundError
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import GROUP, PLURAL, VERSION
from puzzle_operator.api.resource import InvalidResourceError, PuzzleModel
from puzzle_operator.core.facts import Absence, Service
from puzzle_operator.ports import Conflict, Forbidden, PortError, Unavailable

from .changes import Change
from .snapshot import Snapshot, Unread

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ATTEMPTS = 5
_UNUSABLE = (config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)
_T = TypeVar("_T")


class AccessError(Exception):
    """It cannot be read or written; the message says why, and what to do."""


class UnreachableError(AccessError):
    """The API server does not answer now; it may in a moment."""


@dataclass(frozen=True, slots=True)
class Where:
    """kubectl's flags. None is kubectl's default."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    timeout: float = 10.0


class Access:
    """Reads snapshots and writes changes."""

    def __init__(self, kube: Kube, namespace: str, server: str) -> None:
        self._kube, self._cluster = kube, KubeCluster(kube)
        self.namespace, self._server = namespace, server

    @classmethod
    def connect(cls, where: Where) -> Access:
        """As kubectl does: --kubeconfig, KUBECONFIG, ~/.kube/config, the pod's service account.

        Raises:
            AccessError: if none of them can be used.
        """
        settings = client.Configuration()
        try:
            namespace = _load(settings, where)
        except _UNUSABLE as exc:
            raise AccessError(_unusable(exc, where)) from exc
        settings.retries = False
        kube = Kube(client.ApiClient(settings), where.timeout)
        return cls(kube, where.namespace or namespace, str(settings.host))

    def one(self, name: str, *, alone: bool = False) -> Snapshot:
        """A model with what KServe shows for it; `alone` without, which is one request instead of four.

        Raises:
            AccessError: if there is none, or it cannot be read.
        """
        return self._run(self._one(name, alone))

    def models(self, *, everywhere: bool) -> list[Snapshot]:
        """All models of the namespace, or of all, by name; without services.

        Raises:
            AccessError: if they cannot be read.
        """
        where = "" if everywhere else f"/namespaces/{self.namespace}"
        found = self._run(self._kube.get(f"/apis/{GROUP}/{VERSION}{where}/{PLURAL}"))
        now = datetime.now(UTC)
        snapshots = [self._read(body, Unread("not asked for"), now) for body in found.get("items", [])]
        return sorted(snapshots, key=lambda s: s.model.key)

    def change(self, name: str, plan: Callable[[PuzzleModel], Change], *, dry_run: bool) -> Change:
        """Make a change. `plan` is asked again when the object has moved on in between. With `dry_run` the API server
        checks it, rights included, and stores nothing.

        Raises:
            AccessError: if it cannot be made.
            RefusedError: what `plan` raises.
        """
        return self._run(self._change(name, plan, dry_run))

    async def _one(self, name: str, alone: bool) -> Snapshot:
        body = await self._body(name)
        bare = self._read(body, Unread("not asked for"), datetime.now(UTC))
        if alone:
            return bare
        model = bare.model
        service: Service | Absence | Unread
        try:
            service = await self._cluster.service(model)
        except PortError as exc:
            service = Unread(str(exc))
        return self._read(body, service, datetime.now(UTC))

    async def _body(self, name: str) -> JsonObject:
        return await self._kube.get(self._path(name))

    async def _change(self, name: str, plan: Callable[[PuzzleModel], Change], dry_run: bool) -> Change:
        for _ in range(_ATTEMPTS):
            model = self._read(await self._body(name), Unread(""), datetime.now(UTC)).model
            change = plan(model)
            if change.patch is None:
                return change
            patch = change.patch
            if change.exact:
                patch = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": model.resource_version}}
            query = {"fieldManager": "kubectl-puzzle", **({"dryRun": "All"} if dry_run else {})}
            try:
                await self._kube.patch(self._path(name), patch, MERGE_PATCH, **query)
            except Conflict:
                continue
            return change
        raise AccessError(f"PuzzleModel {name} changes faster than it can be edited; try again")

    def _path(self, name: str) -> str:
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}/{name}"

    def _read(self, body: JsonObject, service: Service | Absence | Unread, now: datetime) -> Snapshot:
        try:
            return Snapshot.read(body, service, now)
        except (InvalidResourceError, ValidationError) as exc:
            raise AccessError(f"PuzzleModel {body['metadata'].get('name')} cannot be read: {exc}") from exc

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            return asyncio.run(work)
        except NotFoundError as exc:
            raise AccessError(_not_found(exc, self.namespace)) from exc
        except Forbidden as exc:
            raise AccessError(f"not allowed: {exc}") from exc
        except Unavailable as exc:
            raise UnreachableError(f"{exc} ({self._server})") from exc
        except (PortError, urllib3.exceptions.HTTPError) as exc:
            raise AccessError(str(exc)) from exc


def _not_found(exc: NotFoundError, namespace: str) -> str:
    if exc.known_kind:
        name = str(exc).rsplit("/", 1)[-1]
        return f"there is no PuzzleModel {name} in namespace {namespace}; `kubectl puzzle get -A` lists all"
    return f"this cluster knows no PuzzleModels ({PLURAL}.{GROUP}): install the chart puzzle-operator"


def _unusable(exc: Exception, where: Where) -> str:
    reason = str(exc).rstrip(".") if isinstance(exc, config.ConfigException) else f"{type(exc).__name__}: {exc}"
    fix = "set KUBECONFIG or --kubeconfig to a file that kubectl can use"
    if where.context:
        fix = f"`kubectl config get-contexts` lists what --context {where.context} may be"
    return f"no usable kubeconfig: {reason}; {fix}"


def _load(settings: client.Configuration, where: Where) -> str:
    """Fill the settings; the namespace of the context."""
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=where.kubeconfig, context=where.context, client_configuration=settings
        )
    except config.ConfigException:
        if where.kubeconfig or where.context or not _SERVICE_ACCOUNT.exists():
            raise
        config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        return _SERVICE_ACCOUNT.read_text(encoding="utf-8").strip()
    try:
        contexts, active = config.list_kube_config_contexts(where.kubeconfig)  # type: ignore[no-untyped-call]
    except config.ConfigException:  # a file without current-context serves well with --context
        contexts, active = [], {}
    chosen = next((c for c in contexts if c["name"] == where.context), active)
    return str((chosen.get("context") or {}).get("namespace") or "default")


__all__ = ["Access", "AccessError", "UnreachableError", "Where"]
