"""Writing so that a reader never sees half of it, and JSON in one canonical spelling."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from puzzlenet.errors import PuzzleNetError


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value that is hashed: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def pretty_json(value: Any) -> bytes:
    """JSON for people, as stable as the canonical one."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_of(data: bytes) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Lower-case hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary sibling of ``target`` that takes its name when the block ends well, and is removed when not.

    Raises PuzzleNetError when the target exists with something in it or cannot be made.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise PuzzleNetError(f"{target} exists and is not a folder: choose another place")
    if target.is_dir() and any(target.iterdir()):
        raise PuzzleNetError(f"{target} already exists and is not empty: choose another folder or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as exc:
        raise PuzzleNetError(f"cannot write beside {target}: {exc.strerror}") from exc
    try:
        yield work
        work.chmod(0o755)
        work.replace(target)  # works over an existing empty folder too
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under its final name only when it is whole."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as exc:
        raise PuzzleNetError(f"cannot write {path}: {exc.strerror}") from exc
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
