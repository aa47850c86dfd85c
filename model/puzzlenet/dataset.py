"""A data set is a folder ``<label>/*.png|jpg``. Everything that reads pictures for training reads them from here.

``dataset.json`` is optional. The generator and ``puzzlenet dataset import`` write it; it fixes the order of the
classes, says which symmetries keep a label (a jigsaw piece may be flipped, a digit may not), and holds a digest,
so that a folder that was changed by hand is noticed.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from puzzlenet.errors import BadDataError, BadImageError
from puzzlenet.files import canonical_json, new_folder, pretty_json, sha256_of, sha256_of_file
from puzzlenet.images import read_image

INFO_FILE = "dataset.json"
GROUPS_FILE = "groups.json"
SUFFIXES = (".png", ".jpg", ".jpeg")
Symmetries = Literal["square", "none"]
Progress = Callable[[int, int], None]


class DatasetInfo(BaseModel):
    """What ``dataset.json`` says. Counts are images for each label."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["generated", "imported", "merged", "registry"]
    classes: tuple[str, ...]
    counts: dict[str, int]
    digest: str
    symmetries: Symmetries = "none"
    profile: str | None = None
    seed: int | None = None
    manifest: str | None = None  # digest under which the registry holds it
    corrupted: int = 0  # images that the generator put under a wrong label on purpose

    def to_json(self) -> bytes:
        """The bytes of ``dataset.json``."""
        return pretty_json(self.model_dump(by_alias=True, exclude_none=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """The images of a folder, in a fixed order. ``items`` pairs a path with the index of its class."""

    root: Path
    classes: tuple[str, ...]
    items: tuple[tuple[Path, int], ...]
    symmetries: Symmetries
    info: DatasetInfo | None
    groups: tuple[str, ...] | None = None  # what belongs together, one name for each item: see splits.py

    def counts(self) -> dict[str, int]:
        """Images for each class, in class order."""
        found = Counter(label for _, label in self.items)
        return {name: found[index] for index, name in enumerate(self.classes)}

    def digest(self) -> str:
        """``sha256:…`` over every image's name and bytes; the order of the directory does not matter."""
        return digest_of((path.relative_to(self.root).as_posix(), sha256_of_file(path)) for path, _ in self.items)

    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (n,)."""
        return np.array([label for _, label in self.items], dtype=np.int64)

    def pixels(self, size: int, progress: Progress | None = None) -> NDArray[np.uint8]:
        """Every image decoded, shape (n, size, size, 3). Raises BadImageError naming the file."""
        out = np.empty((len(self.items), size, size, 3), dtype=np.uint8)
        for index, (path, _) in enumerate(self.items):
            out[index] = read_image(_read(path), size, name=str(path))
            if progress is not None:
                progress(index + 1, len(self.items))
        return out


def digest_of(entries: Iterable[tuple[str, str]]) -> str:
    """Digest of (relative path, hex SHA-256) pairs in any order."""
    return "sha256:" + sha256_of(canonical_json(sorted(entries)))


def open_dataset(root: Path, *, classes: tuple[str, ...] | None = None) -> Dataset:
    """Read a folder as a data set, without decoding an image.

    With ``classes`` (those of a trained model) their order is used and any other label is an error; without, the
    order is that of ``dataset.json``, or alphabetical. Raises BadDataError naming the folder or file and the fix.
    """
    if not root.is_dir():
        raise BadDataError(f"{root} is not a folder: a data set is a folder with one folder of images for each label")
    info = _read_info(root)
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise BadDataError(f"{root} has no label folders: put the images into {root}/<label>/*.png or *.jpg")
    found = {folder.name: _images(folder) for folder in folders}
    order = classes or (info.classes if info else tuple(found))
    unknown = sorted(set(found) - set(order))
    if unknown:
        source = "the model" if classes else INFO_FILE
        raise BadDataError(f"{root / unknown[0]}: label '{unknown[0]}' is not one of {source}'s: {', '.join(order)}")
    items = tuple((path, order.index(name)) for name in order for path in found.get(name, ()))
    symmetries = info.symmetries if info else "none"
    groups = _read_groups(root, items)
    return Dataset(root=root, classes=tuple(order), items=items, symmetries=symmetries, info=info, groups=groups)


def list_images(root: Path) -> list[tuple[Path, str]]:
    """Every picture with its label, in the folder's order. Raises BadDataError."""
    dataset = open_dataset(root)
    return [(path, dataset.classes[label]) for path, label in dataset.items]


def require_every_class(dataset: Dataset, at_least: int) -> None:
    """Raise BadDataError unless there are two or more classes, each with ``at_least`` images."""
    if len(dataset.classes) < 2:
        raise BadDataError(f"{dataset.root} has one label only; a classifier needs two or more")
    for name, count in dataset.counts().items():
        if count < at_least:
            raise BadDataError(
                f"{dataset.root / name} has {count} images; at least {at_least} are needed for each label"
            )


def import_dataset(
    source: Path, target: Path, *, symmetries: Symmetries, progress: Progress | None = None
) -> DatasetInfo:
    """Copy a folder of images after opening every one of them, and write its ``dataset.json``.

    Nothing is left behind when one image is bad. Raises BadDataError naming the file.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise BadDataError(f"{target} lies inside {source}: choose a folder outside it")
    dataset = open_dataset(source)
    require_every_class(dataset, at_least=1)
    with new_folder(target) as work:
        for index, (path, label) in enumerate(dataset.items):
            read_image(_read(path), 8, name=str(path))
            folder = work / dataset.classes[label]
            folder.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / path.name)
            if progress is not None:
                progress(index + 1, len(dataset.items))
        info = DatasetInfo(
            kind="imported",
            classes=dataset.classes,
            counts=dataset.counts(),
            digest=dataset.digest(),
            symmetries=symmetries,
        )
        (work / INFO_FILE).write_bytes(info.to_json())
    return info


def merge_datasets(sources: Sequence[Path], target: Path, progress: Progress | None = None) -> DatasetInfo:
    """Copy several data sets into one, so that a model can be trained on all of them.

    Labels need not be the same. A symmetry holds for the whole only where it holds for every part. Raises
    BadDataError naming the folder or file; nothing is left behind then.
    """
    parts = [open_dataset(source) for source in sources]
    classes = tuple(dict.fromkeys(name for part in parts for name in part.classes))
    total, done = sum(len(part.items) for part in parts), 0
    with new_folder(target) as work:
        for number, part in enumerate(parts):
            for path, label in part.items:
                read_image(_read(path), 8, name=str(path))
                folder = work / part.classes[label]
                folder.mkdir(exist_ok=True)
                shutil.copyfile(path, folder / f"{number}-{path.name}")
                done += 1
                if progress is not None:
                    progress(done, total)
        merged = open_dataset(work, classes=classes)
        info = DatasetInfo(
            kind="merged",
            classes=classes,
            counts=merged.counts(),
            digest=merged.digest(),
            symmetries="square" if all(part.symmetries == "square" for part in parts) else "none",
            profile="+".join(dict.fromkeys(part.info.profile for part in parts if part.info and part.info.profile))
            or None,
            corrupted=sum(part.info.corrupted for part in parts if part.info),
        )
        (work / INFO_FILE).write_bytes(info.to_json())
    return info


def _images(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in paths:
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise BadDataError(f"{path} is not a .png or .jpg file: remove it or convert it")
    if not paths:
        raise BadDataError(f"{folder} is empty: add images of this label or remove the folder")
    return paths


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise BadImageError(f"{path} cannot be read: {exc.strerror}") from exc


def _read_groups(root: Path, items: Sequence[tuple[Path, int]]) -> tuple[str, ...] | None:
    """Groups of ``groups.json``; a picture that it does not name is a group of its own."""
    path = root / GROUPS_FILE
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, OSError) as exc:
        raise BadDataError(f"{path} is not readable JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise BadDataError(f"{path} is not an object of paths and the names of their groups")
    names = (image.relative_to(root).as_posix() for image, _ in items)
    return tuple(str(value.get(name, name)) for name in names)


def _read_info(root: Path) -> DatasetInfo | None:
    path = root / INFO_FILE
    if not path.exists():
        return None
    try:
        return DatasetInfo.model_validate(json.loads(path.read_bytes()))
    except (ValidationError, ValueError, OSError) as exc:
        raise BadDataError(f"{path} is not a valid description of a data set: {exc}") from exc
