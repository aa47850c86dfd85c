"""Garbage collection in a real object store: what goes, what stays, cut off in the middle, and beside an upload."""

import io
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from puzzlenet.errors import RegistryError
from puzzlenet.files import sha256_of
from puzzlenet.registry import Registry
from puzzlenet.store.bucket import Bucket
from puzzlenet.store.datasets import DatasetManifest, Datasets, Entry, image_key
from puzzlenet.store.garbage import GRACE_S, Collector, Lot
from puzzlenet.store.golden import GoldenEntry, GoldenSets
from tests.integration.conftest import S3

LATER = GRACE_S + 3_600


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


PICTURES = {sha256_of(data): data for data in map(picture, range(12))}
NAMES = list(PICTURES)


def manifest(*numbers: int, parents: tuple[str, ...] = ()) -> DatasetManifest:
    entries = tuple(Entry(image=NAMES[number], label="good", line="l") for number in numbers)
    return DatasetManifest(line="l", classes=("good", "bad"), parents=parents, entries=entries)


@pytest.fixture
def registry(s3: S3) -> Registry:
    return Registry.connect(s3.location, os.environ)


class Shelf:
    """A bucket with one data set of an open question (0, 1), one of a refused run (1, 2, 3), a golden set (3) and
    pictures that no data set has any more (4, 5)."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.bucket = registry, registry.bucket
        self.datasets = Datasets(registry.bucket)
        self.kept = self.push(manifest(0, 1))
        self.refused = self.push(manifest(1, 2, 3, parents=(self.kept,)))
        self.bucket.put_json("runs/r-1/state.json", {"dataset": self.refused, "outcome": {"outcome": "DataRefused"}})
        GoldenSets(self.bucket).freeze("l", [GoldenEntry(image=NAMES[3], label="good")], self.kept, datetime.now(UTC))
        self.bucket.put("versions/sha256-" + "0" * 64 + "/model.safetensors", b"half of it")
        for number in (4, 5):
            self.bucket.put(image_key(NAMES[number]), PICTURES[NAMES[number]], "image/png")

    def push(self, one: DatasetManifest) -> str:
        return self.datasets.push(one, PICTURES.__getitem__).digest

    def collector(self, later: float = LATER) -> Collector:
        return Collector(self.registry, keep=0, now=time.time() + later)

    def pictures(self) -> set[int]:
        return {NAMES.index(item.key.rpartition("/")[2]) for item in self.bucket.list("images/")}


def test_what_is_refused_or_left_over_goes_and_a_dry_run_takes_nothing(registry: Registry) -> None:
    shelf = Shelf(registry)
    everything = [item.key for item in shelf.bucket.list("")]
    collector = shelf.collector()
    plan = collector.plan()
    assert plan.datasets.remove == (shelf.refused,) and list(plan.datasets.keep) == [shelf.kept]
    size = sum(len(PICTURES[NAMES[number]]) for number in (2, 4, 5))
    assert collector.pictures(plan, delete=False) == Lot(3, size)
    assert collector.leftovers(delete=False) == Lot(1, 10)
    assert [item.key for item in shelf.bucket.list("")] == everything

    collector.remove_named(plan, lambda _name: None)
    assert collector.pictures(plan, delete=True) == Lot(3, size)
    assert collector.leftovers(delete=True) == Lot(1, 10)
    assert shelf.pictures() == {0, 1, 3} and shelf.datasets.digests() == [shelf.kept]
    assert shelf.bucket.list("versions/") == []
    again = shelf.collector()
    assert again.pictures(again.plan(), delete=False) == Lot()


def test_what_was_written_lately_may_be_part_of_something_unfinished(registry: Registry) -> None:
    shelf = Shelf(registry)
    collector = shelf.collector(later=0)
    plan = collector.plan()
    assert plan.datasets.remove == ()
    assert collector.pictures(plan, delete=True) == collector.leftovers(delete=True) == Lot()


def test_a_collection_that_is_cut_off_is_finished_by_the_next(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(registry)
    for allowed in range(3):
        collector = shelf.collector()
        plan = collector.plan()
        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "remove", _failing_after(allowed, Bucket.remove))
            with pytest.raises(RegistryError, match="cut off"):
                collector.remove_named(plan, lambda _name: None)
                collector.pictures(plan, delete=True)
                collector.leftovers(delete=True)
        assert shelf.datasets.manifest(shelf.kept).entries and shelf.pictures() >= {0, 1, 3}
    collector = shelf.collector()
    plan = collector.plan()
    collector.remove_named(plan, lambda _name: None)
    collector.pictures(plan, delete=True)
    assert shelf.pictures() == {0, 1, 3} and shelf.datasets.digests() == [shelf.kept]


def _failing_after(allowed: int, remove: Callable[[Bucket, str], None]) -> Callable[[Bucket, str], None]:
    left = [allowed]

    def act(bucket: Bucket, key: str) -> None:
        if not left[0]:
            raise RegistryError("cut off")
        left[0] -= 1
        remove(bucket, key)

    return act


def test_a_data_set_that_comes_meanwhile_keeps_its_pictures(registry: Registry) -> None:
    shelf = Shelf(registry)
    collector = shelf.collector()
    plan = collector.plan()
    shelf.push(manifest(4, 6))
    collector.remove_named(plan, lambda _name: None)
    collector.pictures(plan, delete=True)
    assert shelf.pictures() == {0, 1, 3, 4, 6}


def test_a_push_brings_back_a_picture_that_was_taken_under_its_hands(registry: Registry) -> None:
    shelf = Shelf(registry)

    def read(image: str) -> bytes:
        # Picture 6 is uploaded; 5 was there when the push looked, and is taken now.
        shelf.bucket.remove(image_key(NAMES[5]))
        return PICTURES[image]

    digest = shelf.datasets.push(manifest(5, 6), read).digest
    assert set(shelf.datasets.images([NAMES[5], NAMES[6]])) == {NAMES[5], NAMES[6]}
    assert digest in shelf.datasets.digests()


def test_the_data_of_a_version_that_is_served_stays(registry: Registry, version: Path) -> None:
    shelf = Shelf(registry)
    digest = registry.push(version).digest
    plan = shelf.collector().plan([digest])
    assert plan.versions.remove == () and "accepted" in plan.versions.keep[digest]
