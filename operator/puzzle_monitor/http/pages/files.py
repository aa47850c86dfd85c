"""The pages' files, read once from the package: a name is looked up in a table and never becomes a path."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

PACKAGE, FOLDER = "puzzle_monitor", "static"
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is served."""

    data: bytes
    media_type: str
    etag: str


def load() -> Mapping[str, File]:
    """All files of the pages by name. Raises FileNotFoundError where the package was built without them."""
    found = {}
    for entry in files(PACKAGE).joinpath(FOLDER).iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in TYPES:
            data = entry.read_bytes()
            found[entry.name] = File(data, TYPES[suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"')
    return found
