"""What a run is trained and judged on: new pictures only, groups whole, golden pictures never trained on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from puzzlenet.dataset import open_dataset
from puzzlenet.errors import BadDataError
from puzzlenet.files import sha256_of
from puzzlenet.quality.measure import Facts, Sample
from puzzlenet.retrain.gather import (
    copies,
    default_golden,
    entries_of,
    kept_together,
    merged,
    target_entries,
    usable,
    wanted,
)
from puzzlenet.retrain.monitor import Labelled
from puzzlenet.splits import hold_out
from puzzlenet.store.datasets import DatasetManifest, Entry, describe, groups_of, materialise

START = datetime(2025, 11, 24, 12, tzinfo=UTC)


def _row(number: int, label: str = "ok", seconds: float = 1.0) -> Labelled:
    at = START + timedelta(seconds=seconds * number)
    return Labelled(id=f"p{number}:0", line="line-1", truth=label, at=at, received=at)


def _facts(number: int, **changes: object) -> Facts:
    sample = Sample(data=str(number).encode(), label="ok", source=str(number))
    return Facts(**({"sample": sample, "image": sha256_of(sample.data), "kind": "png"} | changes))  # type: ignore[arg-type]


def _base(count: int = 60) -> DatasetManifest:
    entries = [
        Entry(image=sha256_of(f"old{i}".encode()), label=("ok", "scratch")[i % 2], line="line-1", source=f"x/{i}")
        for i in range(count)
    ]
    return DatasetManifest(line="line-1", classes=("ok", "scratch"), entries=tuple(entries))


def _new(count: int = 200, seconds: float = 2.0) -> list[tuple[Labelled, Facts]]:
    return [(_row(i, ("ok", "scratch")[i % 2], seconds), _facts(i)) for i in range(count)]


def test_what_the_champion_was_trained_on_is_not_new() -> None:
    base = merged(_base(), entries_of(_new(20), 0.25, 0)[0], "line-1", ())
    assert [row.id for row in wanted([_row(i) for i in range(25)], base, None)] == [f"p{i}:0" for i in range(20, 25)]
    assert [row.id for row in wanted([_row(i) for i in range(25)], base, 2)] == ["p23:0", "p24:0"]


def test_damaged_doubled_and_contradicted_pictures_are_left_out() -> None:
    double, both = _facts(1), _facts(2)
    pictures = [
        (_row(0), _facts(0, error="damaged")),
        (_row(1), double),
        (_row(2), double),
        (_row(3, "ok"), both),
        (_row(4, "scratch"), both),
        (_row(5), _facts(5)),
    ]
    assert [row.id for row, _ in usable(pictures, ())] == ["p1:0", "p5:0"]
    assert [row.id for row, _ in usable(pictures, {double.image})] == ["p5:0"]


def test_no_minute_lies_on_both_sides() -> None:
    entries, unit = entries_of(_new(300, seconds=7.0), 0.25, 0)
    assert unit == "minute"
    sides: dict[str, set[str]] = {}
    for entry in entries:
        sides.setdefault((entry.time or "")[:16], set()).add(entry.split)
    assert all(len(found) == 1 for found in sides.values())
    assert 0.12 < np.mean([entry.split == "test" for entry in entries]) < 0.38


def test_pictures_of_one_minute_are_split_by_something_finer_and_it_is_said() -> None:
    entries, unit = entries_of(_new(200, seconds=0.2), 0.25, 0)
    assert unit in {"ten seconds", "second"}
    assert {entry.split for entry in entries} == {"train", "test"}


def test_golden_pictures_are_never_trained_on() -> None:
    base = _base()
    golden = {base.entries[0].image, base.entries[5].image}
    made = merged(base, entries_of(_new(), 0.25, 0)[0], "line-1", golden)
    assert not golden & {entry.image for entry in made.of("train")}
    assert made.parents == (base.digest,)
    assert not golden & {entry.image for entry in target_entries(made, base)}


def test_new_pictures_weigh_as_much_as_old_ones_up_to_a_bound() -> None:
    base = _base(600)
    some, few = (merged(base, entries_of(_new(count), 0.25, 0)[0], "line-1", ()) for count in (200, 40))
    assert set(copies(some, base).values()) == {4} and set(copies(few, base).values()) == {6}


@pytest.mark.parametrize(("seconds", "unit"), [(0.05, 19), (0.3, 18), (7.0, 16)])
def test_training_validates_on_new_pictures_too_however_short_they_took(seconds: float, unit: int) -> None:
    base = _base(600)
    manifest = merged(base, entries_of(_new(500, seconds), 0.25, 0)[0], "line-1", ())
    assert kept_together(manifest, base) == unit
    times = copies(manifest, base)
    train = [entry for entry in manifest.of("train") for _ in range(times.get(entry.image, 1))]
    labels = np.array([manifest.classes.index(entry.label) for entry in train])
    new = np.array([entry.image in times for entry in train])
    groups = groups_of(train, kept_together(manifest, base))
    for seed in range(20):
        assert 0.05 < hold_out(labels, 0.15, seed, groups)[new].mean() < 0.5


def test_the_golden_set_is_what_training_held_out(pieces: Path) -> None:
    dataset = open_dataset(pieces)
    manifest, _ = describe(dataset, "line-1")
    provenance = {"dataset": {"digest": dataset.digest()}, "parameters": {"seed": 3, "validation": 0.2}}
    held = hold_out(dataset.labels(), 0.2, 3)
    expected = {sha256_of(path.read_bytes()) for (path, _), hit in zip(dataset.items, held, strict=True) if hit}
    assert {entry.image for entry in default_golden(manifest, provenance, "line-1")} == expected


def test_another_folder_than_the_trained_one_has_no_default_golden_set(pieces: Path) -> None:
    manifest, _ = describe(open_dataset(pieces), "line-1")
    with pytest.raises(BadDataError, match="golden freeze"):
        default_golden(manifest, {"dataset": {"digest": "sha256:" + "0" * 64}}, "line-1")


def test_a_folder_comes_back_as_it_was_pushed(pieces: Path, tmp_path: Path) -> None:
    dataset = open_dataset(pieces)
    manifest, places = describe(dataset, "line-1")
    images = {image: path.read_bytes() for image, path in places.items()}
    materialise(manifest, manifest.entries, images, tmp_path / "out")
    back = open_dataset(tmp_path / "out")
    assert back.digest() == dataset.digest() and back.classes == dataset.classes
    assert back.info is not None and back.info.manifest == manifest.digest and back.info.digest == back.digest()


def test_copies_of_a_picture_stay_together(pieces: Path, tmp_path: Path) -> None:
    manifest, places = describe(open_dataset(pieces), "line-1")
    images = {image: path.read_bytes() for image, path in places.items()}
    materialise(manifest, manifest.entries, images, tmp_path / "out", dict.fromkeys(images, 3))
    back = open_dataset(tmp_path / "out")
    assert len(back.items) == 3 * len(manifest.entries) and back.groups is not None
    held = hold_out(back.labels(), 0.15, 0, back.groups)
    one = {path.read_bytes() for (path, _), hit in zip(back.items, held, strict=True) if hit}
    two = {path.read_bytes() for (path, _), hit in zip(back.items, held, strict=True) if not hit}
    assert one and not one & two


def test_pictures_of_one_request_are_of_one_piece() -> None:
    entries = [
        Entry(image=sha256_of(bytes([i])), label="ok", line="l", source="r", prediction=f"r:{i}") for i in range(3)
    ]
    assert len(set(groups_of(entries))) == 1
