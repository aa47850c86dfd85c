"""Sampled pictures in any S3 store, such as MinIO. Loaded only where one is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

from puzzle_common.settings import ConfigurationError
from puzzle_monitor.adapters.images import key
from puzzle_monitor.core.work import ImageMark
from puzzle_monitor.ports import Unavailable

_TIMEOUT_S = 10.0


class S3Images:
    """Objects under a prefix of a bucket."""

    def __init__(self, client: Minio, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def put(self, image: ImageMark, data: bytes) -> None:
        try:
            self._client.put_object(
                bucket_name=self._bucket,
                object_name=self._name(image),
                data=BytesIO(data),
                length=len(data),
                content_type="image/jpeg",
            )
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._outage(error) from error

    def get(self, image: ImageMark) -> bytes | None:
        answer = None
        try:
            answer = self._client.get_object(bucket_name=self._bucket, object_name=self._name(image))
            return bytes(answer.data)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise self._outage(error) from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._outage(error) from error
        finally:
            if answer is not None:
                answer.close()
                answer.release_conn()

    def delete(self, images: Sequence[ImageMark]) -> None:
        names = [DeleteObject(self._name(image)) for image in images]
        try:
            failed = list(self._client.remove_objects(bucket_name=self._bucket, delete_object_list=names))
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._outage(error) from error
        if failed:
            raise Unavailable(f"{len(failed)} images cannot be deleted: {failed[0].code}")

    def _name(self, image: ImageMark) -> str:
        return f"{self._prefix}{key(image)}"

    def _outage(self, error: Exception) -> Unavailable:
        reason = error.code if isinstance(error, S3Error) else type(error).__name__
        return Unavailable(f"the image store s3://{self._bucket}/{self._prefix} fails: {reason}")


def open_s3(place: str, endpoint: str, environment: Mapping[str, str]) -> S3Images:
    """`s3://bucket/prefix` at an endpoint, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    Raises:
        ConfigurationError: naming what is missing.
    """
    parts, where = urlsplit(place), urlsplit(endpoint)
    if not parts.netloc:
        raise ConfigurationError(f"PUZZLE_MONITOR_IMAGES is {place!r}: write s3://bucket/prefix")
    if where.scheme not in {"http", "https"} or not where.netloc:
        raise ConfigurationError(f"PUZZLE_MONITOR_S3_ENDPOINT is {endpoint!r}: write http://… or https://…")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not environment.get(name):
            raise ConfigurationError(f"{name} is not set; images in S3 need it")
    client = Minio(
        endpoint=where.netloc,
        access_key=environment["AWS_ACCESS_KEY_ID"],
        secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        secure=where.scheme == "https",
        region=environment.get("AWS_REGION") or "us-east-1",
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_TIMEOUT_S, read=_TIMEOUT_S), retries=urllib3.Retry(1)
        ),
    )
    prefix = parts.path.strip("/")
    return S3Images(client, parts.netloc, f"{prefix}/" if prefix else "")
