"""Whether a version exists in the registry: any S3 store. Nothing is downloaded and nothing is unpickled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import VersionCheck, VersionState
from puzzle_operator.core.names import short, version_prefix
from puzzle_operator.ports import Cluster, Credentials, Rejected

_MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchObject", "ResourceNotFound"})
_REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"})
FOUND_FOR = 600.0
"""Seconds for which a version that was found is not looked up again: its content never changes."""


class S3Registry:
    """The `Registry` port. Credentials come from the Secret that the model names, read afresh for every
    look."""

    def __init__(self, cluster: Cluster, timeout: float = 5.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._monotonic = monotonic
        self._found: dict[tuple[str, str, str], float] = {}
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="registry")

    async def check(self, model: PuzzleModel) -> VersionCheck:
        storage, version = model.spec.storage, model.spec.model.version
        place = (storage.endpoint, storage.bucket, version)
        secret = storage.secret_ref.name
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
        if self._found.get(place, -FOUND_FOR) + FOUND_FOR > self._monotonic():
            return VersionCheck(version, VersionState.FOUND)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._look, place, credentials)
        if answer.state is VersionState.FOUND:
            self._found[place] = self._monotonic()
        return answer

    def _look(self, place: tuple[str, str, str], credentials: Credentials) -> VersionCheck:
        endpoint, bucket, version = place
        where = f"s3://{bucket}/{version_prefix(version)} at {endpoint}"
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout), retries=urllib3.Retry(0)
        )
        try:
            client = Minio(
                endpoint,
                access_key=credentials.access_key,
                secret_key=credentials.secret_key,
                secure=credentials.https,
                region=credentials.region,
                http_client=pool,
            )
            # manifest.json is uploaded last: a version without it is incomplete, hence not there.
            client.stat_object(bucket, f"{version_prefix(version)}manifest.json")
        except S3Error as exc:
            return _refusal(version, where, exc)
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            message = f"the registry does not answer for {where}: {type(exc).__name__}"
            return VersionCheck(version, VersionState.UNREACHABLE, message)
        finally:
            pool.clear()
        return VersionCheck(version, VersionState.FOUND)


def _refusal(version: str, where: str, exc: S3Error) -> VersionCheck:
    if exc.code in _MISSING:
        message = f"version {short(version)} is not in the registry: {where} has no manifest.json"
        return VersionCheck(version, VersionState.NOT_FOUND, message)
    if exc.code in _REFUSED:
        message = f"the registry refuses the credentials for {where}: {exc.code}"
        return VersionCheck(version, VersionState.SECRET_INVALID, message)
    return VersionCheck(version, VersionState.UNREACHABLE, f"the registry answers {exc.code} for {where}")
