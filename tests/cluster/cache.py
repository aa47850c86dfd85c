"""Content-addressed folders: a key over all inputs, and a folder that exists only when it is complete."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KEY_LENGTH = 12


def digest(inputs: Mapping[str, bytes]) -> str:
    """A short key over named inputs. Order does not matter; a moved boundary between name and value does."""
    total = hashlib.sha256()
    for name in sorted(inputs):
        for part in (name.encode(), inputs[name]):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()[:KEY_LENGTH]


@contextmanager
def publish(target: Path) -> Iterator[Path]:
    """A work folder that becomes `target` in one rename when the block succeeds, and vanishes when it fails.

    What a killed run left behind is cleared first. Callers hold the state folder's lock.
    """
    work = target.with_name(f".{target.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def prune(keep: Path, stem: str) -> None:
    """Remove sibling folders `<stem>-<key>` made from older inputs."""
    for path in keep.parent.glob(f"{stem}-{'?' * KEY_LENGTH}"):
        if path != keep and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a small file in one step, so that a reader or a kill never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.work")
    with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:
        out.write(text)
    work.chmod(mode)
    work.rename(path)
