"""Folders as data sets: what is read, what is refused, and that nothing half-written stays."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from puzzlenet.dataset import import_dataset, merge_datasets, open_dataset, require_every_class
from puzzlenet.errors import BadDataError

Picture = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path, picture: Picture) -> Path:
    """Two labels, in several formats and modes."""
    root = tmp_path / "mine"
    (root / "cat").mkdir(parents=True)
    (root / "dog").mkdir()
    (root / "cat" / "a.png").write_bytes(picture())
    (root / "cat" / "b.JPG").write_bytes(picture(format="JPEG"))
    (root / "dog" / "c.png").write_bytes(picture(mode="L"))
    (root / "dog" / "d.png").write_bytes(picture(mode="P", size=(8, 8)))
    return root


def test_any_folder_of_labels_is_a_data_set(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.classes == ("cat", "dog")
    assert dataset.counts() == {"cat": 2, "dog": 2}
    assert dataset.pixels(16).shape == (4, 16, 16, 3)
    assert dataset.labels().tolist() == [0, 0, 1, 1]


def test_grey_pictures_become_rgb(folder: Path) -> None:
    grey = open_dataset(folder).pixels(16)[2]
    assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 0], grey[..., 2])


def test_an_import_copies_describes_and_verifies(folder: Path, tmp_path: Path) -> None:
    info = import_dataset(folder, tmp_path / "out", symmetries="square")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.info == info and dataset.digest() == info.digest == open_dataset(folder).digest()
    assert dataset.symmetries == "square"


def test_a_changed_file_changes_the_digest(folder: Path, picture: Picture) -> None:
    before = open_dataset(folder).digest()
    (folder / "cat" / "a.png").write_bytes(picture(size=(9, 9)))
    assert open_dataset(folder).digest() != before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="nowhere is not a folder"):
        open_dataset(tmp_path / "nowhere")


def test_a_folder_without_labels_says_where_images_belong(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="no label folders"):
        open_dataset(tmp_path)


def test_an_empty_label_is_named(folder: Path) -> None:
    (folder / "bird").mkdir()
    with pytest.raises(BadDataError, match="bird is empty"):
        open_dataset(folder)


def test_a_file_that_is_no_image_is_named(folder: Path) -> None:
    (folder / "cat" / "notes.txt").write_text("x")
    with pytest.raises(BadDataError, match=r"notes\.txt"):
        open_dataset(folder)


def test_a_label_that_the_model_does_not_know_is_named(folder: Path) -> None:
    with pytest.raises(BadDataError, match="label 'dog' is not one of the model's: cat, horse"):
        open_dataset(folder, classes=("cat", "horse"))


def test_a_label_that_is_missing_from_the_description_is_named(folder: Path, tmp_path: Path, picture: Picture) -> None:
    import_dataset(folder, tmp_path / "out", symmetries="none")
    (tmp_path / "out" / "bird").mkdir()
    (tmp_path / "out" / "bird" / "e.png").write_bytes(picture())
    with pytest.raises(BadDataError, match=r"label 'bird' is not one of dataset\.json's"):
        open_dataset(tmp_path / "out")


def test_a_damaged_description_is_named(folder: Path) -> None:
    (folder / "dataset.json").write_text("{")
    with pytest.raises(BadDataError, match=r"dataset\.json is not a valid description"):
        open_dataset(folder)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\nbroken", b"\xff\xd8\xff\xe0broken"])
def test_a_bad_image_stops_an_import_and_leaves_nothing(folder: Path, tmp_path: Path, content: bytes) -> None:
    (folder / "dog" / "z.png").write_bytes(content)
    with pytest.raises(BadDataError, match=r"z\.png"):
        import_dataset(folder, tmp_path / "out", symmetries="none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_merged_data_sets_keep_every_image_and_the_symmetry_that_all_share(folder: Path, tmp_path: Path) -> None:
    import_dataset(folder, tmp_path / "square", symmetries="square")
    both = merge_datasets([tmp_path / "square", tmp_path / "square"], tmp_path / "both")
    assert both.counts == {"cat": 4, "dog": 4} and both.symmetries == "square"
    assert merge_datasets([tmp_path / "square", folder], tmp_path / "mixed").symmetries == "none"
    assert open_dataset(tmp_path / "both").digest() == both.digest


def test_a_bad_image_stops_a_merge_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "dog" / "z.png").write_bytes(b"x")
    with pytest.raises(BadDataError, match=r"z\.png"):
        merge_datasets([folder, folder], tmp_path / "both")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_an_import_into_its_own_source_is_refused(folder: Path) -> None:
    with pytest.raises(BadDataError, match="lies inside"):
        import_dataset(folder, folder / "copy", symmetries="none")


def test_one_label_is_not_enough_to_train(folder: Path) -> None:
    shutil.rmtree(folder / "dog")
    with pytest.raises(BadDataError, match="one label only"):
        require_every_class(open_dataset(folder), 1)


def test_too_few_images_of_a_label_are_named(folder: Path) -> None:
    with pytest.raises(BadDataError, match="cat has 2 images"):
        require_every_class(open_dataset(folder), 4)
