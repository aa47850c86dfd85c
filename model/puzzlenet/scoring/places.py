"""Where pictures come from and results go to: a folder, or a prefix in a bucket."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from puzzlenet.dataset import SUFFIXES
from puzzlenet.errors import BadDataError, PuzzleNetError
from puzzlenet.files import write_atomically
from puzzlenet.images import MAX_BYTES
from puzzlenet.scoring.plan import Item

# One byte more than is accepted, so that a larger picture is refused as such without being read whole.
ENOUGH = MAX_BYTES + 1


class UnreadableError(Exception):
    """One picture that cannot be read; the others can."""


class Place(Protocol):
    """A folder by another name. Paths are relative, with ``/`` between their parts."""

    name: str

    def pictures(self) -> Iterator[Item]:
        """Every .png and .jpg below, always in the same order, without holding them all."""

    def picture(self, item: Item) -> bytes:
        """A picture's bytes, or the beginning of one that is too large. Raises UnreadableError."""

    def names(self, beginning: str) -> list[str]:
        """Files directly in the place whose names begin so."""

    def read(self, name: str) -> bytes | None:
        """A file directly in the place, or None when it is not there."""

    def write(self, name: str, data: bytes) -> None:
        """A file directly in the place, which appears when it is whole."""

    def remove(self, name: str) -> None:
        """Remove a file directly in the place; that it is gone already is fine."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a bucket, for places that are in one."""

    endpoint: str
    secure: bool
    environment: Mapping[str, str]


def place_at(where: str, s3: Access) -> Place:
    """A folder, or ``s3://bucket/prefix``. Raises PuzzleNetError for what is neither."""
    if where.startswith("s3://"):
        bucket, _, prefix = where.removeprefix("s3://").partition("/")
        if not bucket:
            raise PuzzleNetError(f"{where}: give s3://bucket/prefix")
        if not s3.endpoint:
            raise PuzzleNetError(f"{where}: --endpoint (or PUZZLE_S3_ENDPOINT) is missing; give host:port")
        from puzzlenet.scoring.bucket import BucketPlace

        return BucketPlace.connect(s3, bucket, prefix)
    if "://" in where:
        raise PuzzleNetError(f"{where}: give a folder or s3://bucket/prefix")
    return FolderPlace(Path(where))


def is_picture(name: str) -> bool:
    """Whether a file's name says that it is one, and it is not hidden."""
    return name.lower().endswith(SUFFIXES) and not name.rsplit("/", 1)[-1].startswith(".")


class FolderPlace:
    """A folder. Links to files are followed; links to folders are not, they could go round in circles."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root.resolve())

    def pictures(self) -> Iterator[Item]:
        """Folder by folder; only the names of one folder are sorted at a time."""
        if not self._root.is_dir():
            raise BadDataError(f"{self._root} is not a folder: name a folder of .png or .jpg files, or s3://…")
        return self._below(self._root, "")

    def _below(self, folder: Path, above: str) -> Iterator[Item]:
        try:
            with os.scandir(folder) as found:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
        except OSError as exc:
            raise BadDataError(f"{folder} cannot be listed: {exc.strerror}") from exc
        for name, is_folder in entries:
            if is_folder and not name.startswith("."):
                yield from self._below(folder / name, f"{above}{name}/")
            elif not is_folder and is_picture(name):
                yield _item(folder / name, above + name)

    def picture(self, item: Item) -> bytes:
        """Read a file."""
        try:
            with (self._root / item.path).open("rb") as stream:
                return stream.read(ENOUGH)
        except OSError as exc:
            raise UnreadableError(f"the image cannot be read: {exc.strerror}") from exc

    def names(self, beginning: str) -> list[str]:
        """List the folder."""
        if not self._root.is_dir():
            return []
        return sorted(path.name for path in self._root.iterdir() if path.name.startswith(beginning))

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise PuzzleNetError(f"{self._root / name} cannot be read: {exc.strerror}") from exc

    def write(self, name: str, data: bytes) -> None:
        """Write beside the name, then take it."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            write_atomically(self._root / name, data)
        except OSError as exc:
            raise PuzzleNetError(f"{self._root / name} cannot be written: {exc.strerror}") from exc

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self._root / name).unlink(missing_ok=True)


def _item(path: Path, name: str) -> Item:
    try:
        stat = path.stat()
    except OSError:  # gone since, or a link to nowhere: reading it will say so
        return Item(name, 0, "")
    return Item(name, stat.st_size, str(stat.st_mtime_ns))
