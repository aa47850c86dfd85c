"""A disk that is full, in one sentence that names it: each library that meets it has words of its own."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from puzzlenet.errors import AwayError

_CODES = {errno.ENOSPC, errno.EDQUOT}
_WORDS = ("No space left on device", "Disk quota exceeded")  # of libraries with errors of their own


class DiskFullError(AwayError):
    """Nothing can be written any more. Trying again is worth it: elsewhere, or when somebody has made room."""


@contextmanager
def naming_full_disks(folder: Path, remedy: str) -> Iterator[None]:
    """Turn an error whose cause is a full disk into DiskFullError; every other one stays what it is.

    ``folder`` is where the block writes, and ``remedy`` what a person can do.
    """
    try:
        yield
    except Exception as exc:
        if not is_full(exc):
            raise
        raise DiskFullError(f"the disk of {folder} is full ({_room(folder)}): {remedy}") from exc


def is_full(error: BaseException) -> bool:
    """Whether an error, or what led to it, is a disk without room."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _CODES:
            return True
        if any(words in str(seen) for words in _WORDS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _room(folder: Path) -> str:
    try:
        found = shutil.disk_usage(folder)
    except OSError as exc:
        return f"it cannot be looked at: {exc.strerror}"
    return f"{found.free / 2**20:.1f} of {found.total / 2**20:.1f} MiB are free"
