"""The registry, any S3 store: whether a version exists, and what a line's gate has decided. Reads only; nothing is
downloaded but small records, and nothing is unpickled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import VersionCheck, VersionState
from puzzle_operator.core.names import short, version_prefix
from puzzle_operator.core.retraining.facts import Decisions
from puzzle_operator.core.retraining.results import progress_words
from puzzle_operator.ports import Cluster, Credentials, Rejected

from .decisions import DecisionLog, read_small

_MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchObject", "ResourceNotFound"})
_REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"})
FOUND_FOR = 600.0
"""Seconds for which a version that was found is not looked up again: its content never changes."""
DECISIONS_FOR = 60.0
"""Seconds for which an answer about decisions serves, and an outage too: a store that is down must not slow down the
passes of a rollout."""
_Place = tuple[str, str, str]
_T = TypeVar("_T")


class S3Registry:
    """The `Registry` port. Credentials come from the Secret that the model names, read afresh for every
    look."""

    def __init__(
        self,
        cluster: Cluster,
        timeout: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
        decisions_for: float = DECISIONS_FOR,
    ) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._monotonic = monotonic
        self._decisions_for = decisions_for
        self._found: dict[_Place, float] = {}
        self._decided: dict[tuple[_Place, str, str], tuple[float, Decisions | VersionCheck]] = {}
        self._log = DecisionLog()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="registry")

    async def check(self, model: PuzzleModel, version: str) -> VersionCheck:
        storage = model.spec.storage
        place = (storage.endpoint, storage.bucket, version)
        credentials = await self._credentials(model, version)
        if isinstance(credentials, VersionCheck):
            return credentials
        if self._found.get(place, -FOUND_FOR) + FOUND_FOR > self._monotonic():
            return VersionCheck(version, VersionState.FOUND)
        answer = await self._in_thread(self._look, place, credentials)
        if answer.state is VersionState.FOUND:
            self._found[place] = self._monotonic()
        return answer

    async def decisions(self, model: PuzzleModel, *, fresh: bool) -> Decisions | VersionCheck:
        storage = model.spec.storage
        place = (storage.endpoint, storage.bucket, model.spec.line)
        # By uid: a model that is deleted and made again has had nothing read for it yet.
        key = (place, model.uid, storage.secret_ref.name)
        at, known = self._decided.get(key, (0.0, None))
        if known is not None and not fresh and at + self._decisions_for > self._monotonic():
            return known
        credentials = await self._credentials(model, "")
        if isinstance(credentials, VersionCheck):
            return credentials
        answer = await self._in_thread(self._list, place, credentials)
        now = self._monotonic()
        lately = {one: kept for one, kept in self._decided.items() if kept[0] + self._decisions_for > now}
        self._decided = {**lately, key: (now, answer)}
        return answer

    async def progress(self, model: PuzzleModel, run: str) -> str:
        storage = model.spec.storage
        credentials = await self._credentials(model, "")
        if isinstance(credentials, VersionCheck):
            return ""
        return await self._in_thread(self._read_progress, (storage.endpoint, storage.bucket, run), credentials)

    async def _credentials(self, model: PuzzleModel, version: str) -> Credentials | VersionCheck:
        secret = model.spec.storage.secret_ref.name
        try:
            credentials = await self._cluster.credentials(model.namespace, secret)
        except Rejected as exc:
            return VersionCheck(version, VersionState.SECRET_INVALID, str(exc))
        if credentials is None:
            message = (
                f"Secret {secret} (spec.storage.secretRef.name) does not exist in namespace "
                f"{model.namespace}; "
                "it must hold AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
            return VersionCheck(version, VersionState.SECRET_MISSING, message)
        return credentials

    async def _in_thread(
        self, work: Callable[[_Place, Credentials], _T], place: _Place, credentials: Credentials
    ) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, place, credentials)

    def _look(self, place: _Place, credentials: Credentials) -> VersionCheck:
        endpoint, bucket, version = place
        where = f"s3://{bucket}/{version_prefix(version)} at {endpoint}"
        try:
            with self._client(endpoint, credentials) as client:
                # manifest.json is uploaded last: a version without it is incomplete, hence not there.
                client.stat_object(bucket, f"{version_prefix(version)}manifest.json")
        except S3Error as exc:
            return _refusal(version, where, exc)
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            return _silence(version, where, exc)
        return VersionCheck(version, VersionState.FOUND)

    def _list(self, place: _Place, credentials: Credentials) -> Decisions | VersionCheck:
        endpoint, bucket, line = place
        where = f"s3://{bucket}/lines/{line}/decisions/ at {endpoint}"
        try:
            with self._client(endpoint, credentials) as client:
                return self._log.newest(client, endpoint, bucket, line)
        except S3Error as exc:
            return _refusal("", where, exc)
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            return _silence("", where, exc)

    def _read_progress(self, place: _Place, credentials: Credentials) -> str:
        endpoint, bucket, run = place
        try:
            with self._client(endpoint, credentials) as client:
                return progress_words(read_small(client, bucket, f"runs/{run}/progress.json"))
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError):
            return ""  # it has not said anything yet, or the store is away: the run goes on all the same

    @contextmanager
    def _client(self, endpoint: str, credentials: Credentials) -> Iterator[Minio]:
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout), retries=urllib3.Retry(0)
        )
        try:
            yield Minio(
                endpoint,
                access_key=credentials.access_key,
                secret_key=credentials.secret_key,
                secure=credentials.https,
                region=credentials.region,
                http_client=pool,
            )
        finally:
            pool.clear()


def _silence(version: str, where: str, exc: Exception) -> VersionCheck:
    message = f"the registry does not answer for {where}: {type(exc).__name__}"
    return VersionCheck(version, VersionState.UNREACHABLE, message)


def _refusal(version: str, where: str, exc: S3Error) -> VersionCheck:
    if exc.code in _MISSING:
        what = f"version {short(version)}" if version else "the bucket"
        why = f"{where} has no manifest.json" if version else where
        return VersionCheck(version, VersionState.NOT_FOUND, f"{what} is not in the registry: {why}")
    if exc.code in _REFUSED:
        message = f"the registry refuses the credentials for {where}: {exc.code}"
        return VersionCheck(version, VersionState.SECRET_INVALID, message)
    return VersionCheck(version, VersionState.UNREACHABLE, f"the registry answers {exc.code} for {where}")
