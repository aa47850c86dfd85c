"""A prefix in a bucket as a place for pictures and results."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from puzzlenet.errors import PuzzleNetError, RegistryError
from puzzlenet.scoring.places import ENOUGH, Access, UnreadableError, is_picture
from puzzlenet.scoring.plan import Item

_GONE = ("NoSuchKey", "NoSuchObject")
# What waiting will not mend.
_REFUSED = ("NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")


class StoreAwayError(RegistryError):
    """The store does not answer, or answers that it cannot at present."""

    retry = True


class BucketPlace:
    """Objects below a prefix. An upload appears whole or not at all, which is S3's own promise."""

    def __init__(self, client: Minio, endpoint: str, bucket: str, prefix: str) -> None:
        self._client, self._endpoint, self._bucket = client, endpoint, bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.name = f"s3://{bucket}/{self._prefix}".rstrip("/")

    @classmethod
    def connect(cls, s3: Access, bucket: str, prefix: str) -> "BucketPlace":
        """A client with the credentials of the environment; nothing is sent yet. Many threads may read with it."""
        key, secret = s3.environment.get("AWS_ACCESS_KEY_ID"), s3.environment.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret:
            raise PuzzleNetError("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
        pool = urllib3.PoolManager(
            maxsize=64,
            timeout=urllib3.Timeout(connect=5.0, read=60.0),
            retries=urllib3.Retry(total=5, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504)),
        )
        try:
            client = Minio(
                endpoint=s3.endpoint,
                access_key=key,
                secret_key=secret,
                session_token=s3.environment.get("AWS_SESSION_TOKEN"),
                secure=s3.secure,
                region=s3.environment.get("AWS_REGION", "us-east-1"),
                http_client=pool,
            )
        except ValueError as exc:
            raise PuzzleNetError(f"--endpoint '{s3.endpoint}': give host:port without a scheme ({exc})") from exc
        return cls(client, s3.endpoint, bucket, prefix)

    def pictures(self) -> Iterator[Item]:
        """Page by page, as S3 lists: by key."""
        with self._translated():
            found = self._client.list_objects(bucket_name=self._bucket, prefix=self._prefix or None, recursive=True)
            for one in found:
                path = (one.object_name or "").removeprefix(self._prefix)
                if is_picture(path):
                    yield Item(path, one.size or 0, (one.etag or "").strip('"'))

    def picture(self, item: Item) -> bytes:
        """Fetch an object, or the beginning of a large one."""
        data = self._get(self._prefix + item.path, ENOUGH)
        if data is None:
            raise UnreadableError("the image cannot be read: it is gone since it was listed")
        return data

    def names(self, beginning: str) -> list[str]:
        """List below the prefix, without what lies deeper."""
        start = self._prefix + beginning
        with self._translated():
            found = self._client.list_objects(bucket_name=self._bucket, prefix=start or None, recursive=False)
            names = [(one.object_name or "").removeprefix(self._prefix) for one in found]
        return sorted(name for name in names if not name.endswith("/"))

    def read(self, name: str) -> bytes | None:
        """Fetch an object."""
        return self._get(self._prefix + name)

    def write(self, name: str, data: bytes) -> None:
        """Store an object."""
        with self._translated():
            self._client.put_object(
                bucket_name=self._bucket, object_name=self._prefix + name, data=io.BytesIO(data), length=len(data)
            )

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._translated():
            self._client.remove_object(bucket_name=self._bucket, object_name=self._prefix + name)

    def _get(self, key: str, limit: int | None = None) -> bytes | None:
        with self._translated():
            try:
                response = self._client.get_object(bucket_name=self._bucket, object_name=key)
            except S3Error as exc:
                if exc.code in _GONE:
                    return None
                raise
            try:
                return bytes(response.read(limit))
            finally:
                response.close()
                response.release_conn()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the client's errors into one sentence each, none of which can hold a credential."""
        try:
            yield
        except ValueError as exc:  # of the client, before anything is sent
            raise PuzzleNetError(f"{self.name}: {exc}") from exc
        except S3Error as exc:
            message = f"{self._endpoint} answered {exc.code} for {self.name}: check the bucket and the key's rights"
            raise (RegistryError if exc.code in _REFUSED else StoreAwayError)(message) from exc
        except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, OSError) as exc:
            raise StoreAwayError(
                f"{self.name} at {self._endpoint} cannot be reached ({type(exc).__name__}): run it again later; "
                "check --endpoint, and --insecure when it has no TLS"
            ) from exc
