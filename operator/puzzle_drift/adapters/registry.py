"""References of versions from any S3 store, verified by the hashes that give a version its name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from safetensors import SafetensorError
from safetensors.numpy import load

from puzzle_common.settings import ConfigurationError
from puzzle_drift.core.records import Reference, Refused, reference_of
from puzzle_drift.core.wanted import Storage
from puzzle_drift.ports import Unavailable

NAME = "reference.safetensors"
_MANIFEST = "manifest.json"
_TIMEOUT_S = 10.0
_LARGEST = 16 << 20
_MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchObject", "ResourceNotFound"})
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class S3Registry:
    """The `Registry` port. One pair of credentials serves all models."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if not environment.get(name):
                raise ConfigurationError(f"{name} is not set; references lie in S3 and need it")
        self._keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        self._region = environment.get("AWS_REGION") or "us-east-1"
        self._clients: dict[Storage, Minio] = {}

    def reference(self, storage: Storage, version: str) -> Reference:
        """Manifest first, whose hash is the version, then the file that it lists."""
        found = _DIGEST.fullmatch(version)
        if not found:
            raise Refused(f"'{version}' is not a version: it is spelled sha256: and 64 lower-case hex digits")
        prefix = f"versions/sha256-{found[1]}/"
        manifest = self._get(storage, prefix + _MANIFEST)
        if hashlib.sha256(manifest).hexdigest() != found[1]:
            raise Refused(f"{prefix}{_MANIFEST} does not hash to the version: it was altered")
        wanted = _listed(manifest, version)
        data = self._get(storage, prefix + NAME)
        if hashlib.sha256(data).hexdigest() != wanted:
            raise Refused(f"{prefix}{NAME} is not the file that the manifest lists: push the version again")
        try:
            return reference_of(load(data), wanted)
        except SafetensorError as error:
            raise Refused(f"{prefix}{NAME} is no safetensors file: {error}") from error

    def _get(self, storage: Storage, name: str) -> bytes:
        where = f"s3://{storage.bucket}/{name} at {storage.endpoint}"
        answer = None
        try:
            answer = self._client(storage).get_object(bucket_name=storage.bucket, object_name=name)
            data = answer.read(_LARGEST + 1)
        except S3Error as error:
            if error.code in _MISSING:
                raise Refused(f"{where} is not there: was the version pushed?") from error
            raise Unavailable(f"the registry answers {error.code} for {where}") from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unavailable(f"the registry does not answer for {where}: {type(error).__name__}") from error
        finally:
            if answer is not None:
                answer.close()
                answer.release_conn()
        if len(data) > _LARGEST:
            raise Refused(f"{where} is larger than {_LARGEST >> 20} MiB")
        return bytes(data)

    def _client(self, storage: Storage) -> Minio:
        if storage not in self._clients:
            timeout = urllib3.Timeout(connect=_TIMEOUT_S, read=_TIMEOUT_S)
            self._clients[storage] = Minio(
                endpoint=storage.endpoint,
                access_key=self._keys[0],
                secret_key=self._keys[1],
                secure=storage.secure,
                region=self._region,
                http_client=urllib3.PoolManager(timeout=timeout, retries=urllib3.Retry(1)),
            )
        return self._clients[storage]


def _listed(manifest: bytes, version: str) -> str:
    try:
        files: list[dict[str, Any]] = json.loads(manifest)["files"]
        hashes = {str(entry["path"]): str(entry["sha256"]) for entry in files}
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"the manifest of {version} cannot be read: {error}") from error
    if NAME not in hashes:
        raise Refused(f"version {version[:19]} was packaged without {NAME}: package it again with this release")
    return hashes[NAME]
