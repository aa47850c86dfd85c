"""Pictures in a real S3 store, and what retention does to pictures, rows and counts together."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from puzzle_monitor.adapters.images import FolderImages, open_images
from puzzle_monitor.adapters.s3 import S3Images
from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.store import SqlStore
from puzzle_monitor.core.records import Record
from puzzle_monitor.core.stored import Pruned
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import ImageMark, Work
from puzzle_monitor.ports import Unavailable
from puzzle_monitor.service.inputs import Inputs
from puzzle_monitor.service.monitor import Monitor
from puzzle_monitor.service.retention import Retention
from puzzle_monitor.service.telemetry import Telemetry
from tests.integration.conftest import S3
from tests.integration.monitor.live import a_record

JPEG = b"\xff\xd8\xff" + bytes(100)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_pictures_in_a_real_s3_store(s3: S3) -> None:
    endpoint = f"http://{s3.location.endpoint}"
    store = open_images(f"s3://{s3.location.bucket}/pieces", endpoint, os.environ)
    assert isinstance(store, S3Images)
    one, other = ImageMark("p-1", "ab" * 32), ImageMark("p-2", "cd" * 32)
    assert store.get(one) is None
    store.put(one, JPEG)
    store.put(one, JPEG)
    assert store.get(one) == JPEG
    names = [item.object_name for item in s3.client.list_objects(bucket_name=s3.location.bucket, recursive=True)]
    assert len(names) == 1 and str(names[0]).startswith("pieces/")
    store.delete([one, other])
    assert store.get(one) is None
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        open_images("s3://there-is-no-such-bucket", endpoint, os.environ).put(one, JPEG)


def test_a_store_that_does_not_answer_is_an_outage() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    store = open_images("s3://bucket", "http://127.0.0.1:1", keys)
    with pytest.raises(Unavailable, match="the image store s3://bucket/ fails"):
        store.put(ImageMark("p", "a"), JPEG)
    with pytest.raises(Unavailable, match="the image store s3://bucket/ fails"):
        store.delete([ImageMark("p", "a")])


def test_a_database_that_hangs_is_an_outage_and_not_a_wait_for_ever(
    database: Database, store: SqlStore, tmp_path: Path
) -> None:
    """Somebody holds the lock of writers."""
    monitor = Monitor(store, FolderImages(tmp_path / "i"), Telemetry(), timedelta(days=1), lambda: NOW, patience=0.3)
    monitor.commits.start()
    record = Record.model_validate(a_record(at=NOW.isoformat()), strict=False)
    other = Database(database.url.render_as_string(hide_password=False))
    with other.writing(), pytest.raises(Unavailable, match="took more than"):
        asyncio.run(monitor.ingest((record,)))
    other.close()
    # The first try was waiting for the lock and is written now; the second finds it there.
    assert asyncio.run(monitor.ingest((record,))).duplicates == 1
    monitor.commits.stop()


def test_retention_deletes_in_steps_and_may_be_run_again(store: SqlStore, tmp_path: Path) -> None:
    images = FolderImages(tmp_path / "images")
    at = [(NOW - timedelta(days=100 if n < 1200 else 1)).isoformat() for n in range(1300)]
    records = tuple(Record.model_validate(a_record(id=f"p-{n}", at=at[n]), strict=False) for n in range(1300))
    store.write(Work(records), micros(NOW), 0)
    marks = [ImageMark(f"p-{n}", hashlib.sha256(JPEG).hexdigest()) for n in (0, 700, 1250)]
    for mark in marks:
        images.put(mark, JPEG)
    store.write(Work(images=tuple(marks)), micros(NOW), 0)
    telemetry = Telemetry()
    retention = Retention(store, images, timedelta(days=90), lambda: NOW, telemetry)
    assert retention.preview() == retention.prune() == Pruned(predictions=1200, images=2, minutes=1)
    assert retention.prune() == Pruned()
    assert [images.get(mark) for mark in marks] == [None, None, JPEG]
    assert b'puzzle_monitor_pruned_total{kind="predictions"} 1200.0' in telemetry.expose(
        store, 0, Inputs(store, lambda: NOW, telemetry).verdict
    )
    (total,) = store.totals()
    assert sum(total.buckets) == 1300, "counts outlive the rows"
