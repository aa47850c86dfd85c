"""A disk that is small enough to be filled: a tmpfs of its own, which needs root as the local cluster does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """An empty file system of this size (such as 2m) on a new folder, gone afterwards with all that is on it."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all that is left; removing it makes room again."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for step in (1 << 16, 1 << 12, 1):
            try:
                while stream.write(b"\0" * step):
                    pass
            except OSError:
                continue
    return ballast
