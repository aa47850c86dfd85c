"""One bucket of MinIO or any other S3: objects by key, and errors as one sentence each, without a credential."""

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from puzzlenet.errors import RegistryError
from puzzlenet.files import canonical_json, sha256_of

T = TypeVar("T")
MAX_JSON = 64 * 1024 * 1024
MAX_FILE = 8 * 1024**3
GONE = ("NoSuchKey", "NoSuchObject")
_PAUSE = 2.0
POOL = 8  # connections; as many threads fetch pictures


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """Where the registry is. ``endpoint`` is host:port; ``secure`` means TLS."""

    endpoint: str
    bucket: str
    secure: bool = True

    def __post_init__(self) -> None:
        if "/" in self.endpoint or not self.endpoint:
            raise RegistryError(f"--endpoint '{self.endpoint}': give host:port without a scheme; --insecure means http")


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a listing. ``modified`` is seconds since 1970."""

    key: str
    size: int
    modified: float


class Bucket:
    """Every method raises RegistryError with the endpoint and the fix when the store does not answer.

    ``patience`` is how many seconds a store that is away is waited for.
    """

    def __init__(self, location: Location, client: Minio, patience: float = 0.0) -> None:
        self.location = location
        self._client = client
        self._patience = patience

    @classmethod
    def connect(cls, location: Location, environment: Mapping[str, str], patience: float = 0.0) -> "Bucket":
        """A client with the credentials of the environment; nothing is sent yet."""
        key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret:
            raise RegistryError("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5.0, read=60.0),
            maxsize=POOL,
            retries=urllib3.Retry(total=2, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504)),
        )
        try:
            client = Minio(
                endpoint=location.endpoint,
                access_key=key,
                secret_key=secret,
                session_token=environment.get("AWS_SESSION_TOKEN"),
                secure=location.secure,
                region=environment.get("AWS_REGION", "us-east-1"),
                http_client=pool,
            )
        except ValueError as exc:
            raise RegistryError(f"--endpoint '{location.endpoint}' is not valid: {exc}") from exc
        return cls(location, client, patience)

    def stat(self, key: str) -> tuple[int, str] | None:
        """Size and recorded SHA-256 of an object, or None when there is none."""

        def ask() -> tuple[int, str] | None:
            try:
                found = self._client.stat_object(bucket_name=self.location.bucket, object_name=key)
            except S3Error as exc:
                if exc.code in GONE:
                    return None
                raise
            return found.size or 0, str((found.metadata or {}).get("x-amz-meta-sha256", ""))

        return self._call(ask)

    def get(self, key: str, limit: int = MAX_JSON) -> bytes:
        """An object's bytes; at most one byte over ``limit``, which no verified file can have."""

        def ask() -> bytes:
            response = self._client.get_object(bucket_name=self.location.bucket, object_name=key)
            try:
                return bytes(response.read(limit + 1))
            finally:
                response.close()
                response.release_conn()

        return self._call(ask)

    def find(self, key: str, limit: int = MAX_JSON) -> bytes | None:
        """The same, or None when there is no such object."""
        return None if self.stat(key) is None else self.get(key, limit)

    def document(self, key: str) -> dict[str, Any] | None:
        """A JSON object, or None when there is none. Raises RegistryError for one that is not JSON."""
        data = self.find(key)
        if data is None:
            return None
        try:
            value = json.loads(data)
        except ValueError as exc:
            raise RegistryError(f"{self.where(key)} is not JSON: {exc}") from exc
        if not isinstance(value, dict):
            raise RegistryError(f"{self.where(key)} is not a JSON object")
        return value

    def put(self, key: str, data: bytes, kind: str = "application/octet-stream") -> None:
        """Store an object, in place of what was there."""
        digest = sha256_of(data)

        def act() -> None:
            self._client.put_object(
                bucket_name=self.location.bucket,
                object_name=key,
                data=io.BytesIO(data),
                length=len(data),
                content_type=kind,
                metadata={"sha256": digest},
            )

        self._call(act)

    def put_json(self, key: str, value: Any) -> None:
        """Store a JSON value."""
        self.put(key, canonical_json(value), "application/json")

    def list(self, prefix: str) -> list[Found]:
        """Every object under a prefix, by key."""

        def ask() -> list[Found]:
            items = self._client.list_objects(bucket_name=self.location.bucket, prefix=prefix, recursive=True)
            return [
                Found(
                    item.object_name or "", item.size or 0, item.last_modified.timestamp() if item.last_modified else 0
                )
                for item in items
            ]

        return sorted(self._call(ask), key=lambda found: found.key)

    def walk(self, prefix: str) -> Iterator[Found]:
        """Every object under a prefix, by key and page by page: for listings that are too long to hold."""
        bucket = self.location.bucket
        items = self._translate(
            lambda: self._client.list_objects(bucket_name=bucket, prefix=prefix or None, recursive=True)
        )
        while (item := self._translate(lambda: next(items, None))) is not None:
            modified = item.last_modified.timestamp() if item.last_modified else 0.0
            yield Found(item.object_name or "", item.size or 0, modified)

    def remove(self, key: str) -> None:
        """Remove an object; that it is gone already is fine."""
        self._call(lambda: self._client.remove_object(bucket_name=self.location.bucket, object_name=key))

    def where(self, key: str) -> str:
        """How an object is called in messages."""
        return f"s3://{self.location.bucket}/{key}"

    def _call(self, act: Callable[[], T]) -> T:
        """Run a call, again while the store is away and there is patience left."""
        until = time.monotonic() + self._patience
        while True:
            try:
                return self._translate(act)
            except RegistryError as exc:
                if not exc.retry or time.monotonic() + _PAUSE > until:
                    raise
                time.sleep(_PAUSE)

    def _translate(self, act: Callable[[], T]) -> T:
        """Turn the client's errors into one sentence each, none of which can hold a credential."""
        endpoint, bucket = self.location.endpoint, self.location.bucket
        try:
            return act()
        except ValueError as exc:  # the client's own, of a name that no bucket can have
            raise RegistryError(f"s3://{bucket}: {exc}") from exc
        except S3Error as exc:
            reason = _REASONS.get(exc.code or "", f"{{endpoint}} answered {exc.code} for bucket '{{bucket}}'")
            raise RegistryError(
                reason.format(endpoint=endpoint, bucket=bucket), retry=exc.code not in _REASONS
            ) from exc
        except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, OSError) as exc:
            raise RegistryError(
                f"the registry at {endpoint} cannot be reached ({type(exc).__name__}): "
                "check --endpoint, and --insecure when it has no TLS",
                retry=True,
            ) from exc


_REASONS = {
    "NoSuchBucket": "bucket '{bucket}' does not exist at {endpoint}: create it first",
    "NoSuchKey": "a file of the version is missing in bucket '{bucket}' of {endpoint}",
    "AccessDenied": "{endpoint} denies access to bucket '{bucket}': the key lacks the right for this",
    "InvalidAccessKeyId": "{endpoint} does not know the key in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "{endpoint} refuses the secret in AWS_SECRET_ACCESS_KEY",
}
