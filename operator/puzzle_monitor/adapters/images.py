"""Sampled pictures in a folder, under names made from id and content; and the choice between a folder and S3."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from puzzle_common.settings import ConfigurationError
from puzzle_monitor.core.work import ImageMark
from puzzle_monitor.ports import ImageStore, Unavailable


def key(image: ImageMark) -> str:
    """The name of a picture. The id as a digest, since two ids may differ only by what a file system cannot tell
    apart; the content's digest too, so that two pictures for one id, sent at once, cannot overwrite each other."""
    name = hashlib.sha256(image.prediction_id.encode()).hexdigest()
    return f"{name[:2]}/{name}-{image.digest[:16]}.jpg"


class FolderImages:
    """Files, written beside and renamed, so that nobody ever sees half of one."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"the folder for images {folder} cannot be made: {error.strerror}") from error
        self._folder = folder

    def put(self, image: ImageMark, data: bytes) -> None:
        path = self._folder / key(image)
        try:
            path.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).rename(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            for folder in (path.parent, self._folder):
                _sync(folder)
        except OSError as error:
            raise Unavailable(f"the image cannot be written: {error.strerror}") from error

    def get(self, image: ImageMark) -> bytes | None:
        try:
            return (self._folder / key(image)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"the image cannot be read: {error.strerror}") from error

    def delete(self, images: Sequence[ImageMark]) -> None:
        try:
            for image in images:
                (self._folder / key(image)).unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"images cannot be deleted: {error.strerror}") from error


def _sync(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_images(place: str, endpoint: str, environment: Mapping[str, str]) -> ImageStore:
    """A folder, or `s3://bucket/prefix` at the endpoint. Raises ConfigurationError."""
    if place.startswith("s3://"):
        from puzzle_monitor.adapters.s3 import open_s3

        return open_s3(place, endpoint, environment)
    return FolderImages(Path(place))
