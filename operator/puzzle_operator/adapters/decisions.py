"""The append-only record of a line's decisions: keys rise with time, and a record never changes.

So a record is read once and kept, and a look costs one listing and the records that are new.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from minio import Minio

from puzzle_operator.api.names import VERSION_PATTERN
from puzzle_operator.core.retraining.facts import DecisionRecord, Decisions

log = logging.getLogger("puzzle_operator")
MOST = 50
"""Records that are looked at, the newest ones."""
_LARGEST = 64 * 1024
_KEPT = 2000
_VERSION = re.compile(VERSION_PATTERN)


class DecisionLog:
    """Reads the newest records of lines."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str, str], DecisionRecord | None] = {}

    def newest(self, client: Minio, endpoint: str, bucket: str, line: str) -> Decisions:
        """The newest records, the newest first.

        Raises:
            S3Error, HTTPError, OSError: if the store does not answer, or refuses.
        """
        listed = client.list_objects(bucket, prefix=f"lines/{line}/decisions/", recursive=True)
        keys = sorted(str(item.object_name) for item in listed if str(item.object_name).endswith(".json"))[-MOST:]
        found = [self._record(client, endpoint, bucket, key) for key in reversed(keys)]
        return Decisions(tuple(record for record in found if record is not None))

    def _record(self, client: Minio, endpoint: str, bucket: str, key: str) -> DecisionRecord | None:
        known = (endpoint, bucket, key)
        if known not in self._read:
            while len(self._read) >= _KEPT:
                self._read.pop(next(iter(self._read)))
            self._read[known] = read_record(key, read_small(client, bucket, key))
        return self._read[known]


def read_small(client: Minio, bucket: str, key: str) -> bytes:
    """The beginning of an object.

    Raises:
        S3Error, HTTPError, OSError: if the store does not answer, refuses, or has no such object.
    """
    answer = client.get_object(bucket, key)
    try:
        return bytes(answer.read(_LARGEST))
    finally:
        answer.close()
        answer.release_conn()


def read_record(key: str, text: bytes) -> DecisionRecord | None:
    """A record as a fact; one that makes no sense is passed over, and said so."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        log.warning("the record %s of the registry makes no sense and is passed over", key)
        return None
    version = found.get("version")
    return DecisionRecord(
        key=key,
        kind=found["kind"],
        version=version if isinstance(version, str) and _VERSION.match(version) else "",
        run=str(found.get("run") or ""),
        reason=str(found.get("reason") or "")[:1000],
    )
