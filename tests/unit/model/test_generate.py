"""Generated data sets: the same order gives the same folder, whoever draws it."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzlenet.dataset import open_dataset
from puzzlenet.errors import PuzzleNetError
from puzzlenet.generate import Order, draw, generate, plan
from puzzlenet.render import CLASSES


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_two_workers_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    order = Order(profile="line-2", count=70, seed=9, format="mixed")
    generate(order, tmp_path / "one", workers=1)
    generate(order, tmp_path / "two", workers=2)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    assert {Path(name).suffix for name in _files(tmp_path / "one")} == {".png", ".jpg", ".json"}


def test_the_digest_in_the_description_is_that_of_the_folder(tmp_path: Path) -> None:
    info = generate(Order(profile="line-1", count=12, seed=1), tmp_path / "data")
    assert open_dataset(tmp_path / "data").digest() == info.digest
    assert json.loads((tmp_path / "data" / "dataset.json").read_text())["digest"] == info.digest


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 400), st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_exactly_the_ordered_share_is_filed_under_a_wrong_label(count: int, seed: int, share: float) -> None:
    pieces = plan(Order(profile="line-1", count=count, seed=seed, corrupt_labels=share))
    assert sum(piece.truth != piece.label for piece in pieces) == round(share * count)


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 400), st.integers(0, 10_000))
def test_every_order_has_every_class_and_about_three_tenths_good_pieces(count: int, seed: int) -> None:
    truths = Counter(piece.truth for piece in plan(Order(profile="line-1", count=count, seed=seed)))
    defects = [truths[name] for name in CLASSES[1:]]
    assert truths["ok"] == max(1, round(0.3 * count))
    assert max(defects) - min(defects) <= 1


def test_corruption_changes_labels_and_no_pixel() -> None:
    clean = Order(profile="line-1", count=20, seed=4)
    corrupt = Order(profile="line-1", count=20, seed=4, corrupt_labels=0.5)
    for one, other in zip(plan(clean), plan(corrupt), strict=True):
        assert draw(clean, one)[1] == draw(corrupt, other)[1]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"profile": "line-9"}, "line-9"),
        ({"count": 3}, "--count 3"),
        ({"seed": -1}, "--seed -1"),
        ({"corrupt_labels": 1.5}, "--corrupt-labels 1.5"),
    ],
)
def test_a_bad_order_is_refused_by_name(change: dict[str, object], names: str) -> None:
    with pytest.raises(PuzzleNetError, match=names):
        Order(**({"profile": "line-1", "count": 10, "seed": 0} | change))  # type: ignore[arg-type]


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(PuzzleNetError, match="not empty"):
        generate(Order(profile="line-1", count=6, seed=0), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
