"""A tiny trained version and a bucket of one's own in a real store, for the registry's and TorchServe's tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from minio import Minio

from puzzlenet.registry import Location
from tests.tiny_model import pieces, run, version  # noqa: F401 - fixtures


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket that exists for one test, and a client that looks past the registry's back."""

    location: Location
    client: Minio


@pytest.fixture
def s3() -> Iterator[S3]:
    """An empty bucket; fails with the variable's name when the environment names no store."""
    for name in ("PUZZLE_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not os.environ.get(name):
            pytest.fail(f"{name} is not set: run this through `make integration`, or name a store of your own")
    location = Location(endpoint=os.environ["PUZZLE_S3_ENDPOINT"], bucket=f"test-{uuid.uuid4().hex[:12]}", secure=False)
    client = Minio(
        endpoint=location.endpoint,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        secure=False,
        region="us-east-1",
    )
    client.make_bucket(bucket_name=location.bucket)
    yield S3(location, client)
    for found in list(client.list_objects(bucket_name=location.bucket, recursive=True)):
        client.remove_object(bucket_name=location.bucket, object_name=str(found.object_name))
    client.remove_bucket(bucket_name=location.bucket)
