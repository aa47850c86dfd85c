"""A version is a folder, and its name is the hash of its manifest.

``manifest.json`` lists every other file with size and SHA-256 in canonical JSON; the version's digest is the
SHA-256 of those bytes. Whoever holds the digest can check a whole folder from any source. Only the standard
library and pydantic here: the registry and the server check versions without torch.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from puzzlenet.errors import BadVersionError
from puzzlenet.files import canonical_json, sha256_of, sha256_of_file

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # beside the manifest, which it signs: see signing.py
FILES = ("card.json", "config.json", "model.safetensors", "provenance.json", "puzzlenet.mar", "reference.safetensors")
# Versions packaged before there was a drift reference lack it, and are still served.
_REQUIRED = frozenset(FILES) - {"reference.safetensors"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Entry(BaseModel):
    """One file of a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    size: int = Field(ge=0)

    @field_validator("path")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value) or value == MANIFEST:
            raise ValueError(f"'{value}' is not the plain name of a file of a version")
        return value

    @field_validator("sha256")
    @classmethod
    def _hex(cls, value: str) -> str:
        if not _HEX.fullmatch(value):
            raise ValueError("not a lower-case hex SHA-256")
        return value


class Manifest(BaseModel):
    """The files of a version, sorted by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    files: tuple[Entry, ...]

    @field_validator("files")
    @classmethod
    def _sorted_and_distinct(cls, value: tuple[Entry, ...]) -> tuple[Entry, ...]:
        names = [entry.path for entry in value]
        if names != sorted(set(names)):
            raise ValueError("files must be sorted by path, each named once")
        return value

    def to_bytes(self) -> bytes:
        """The canonical bytes, whose hash is the version."""
        return canonical_json(self.model_dump(by_alias=True))

    @property
    def digest(self) -> str:
        """``sha256:<64 hex>``."""
        return "sha256:" + sha256_of(self.to_bytes())


@dataclass(frozen=True, slots=True)
class Version:
    """A verified folder."""

    folder: Path
    digest: str
    manifest: Manifest


def check_digest(text: str) -> str:
    """Return a version's digest as given, or raise BadVersionError saying how it is spelled."""
    if not _DIGEST.fullmatch(text):
        raise BadVersionError(f"'{text}' is not a version: it is spelled sha256: and 64 lower-case hex digits")
    return text


def build_manifest(folder: Path) -> Manifest:
    """The manifest of the files of a version, as they lie in a folder."""
    return Manifest(
        files=tuple(
            Entry(path=name, sha256=sha256_of_file(folder / name), size=(folder / name).stat().st_size)
            for name in sorted(FILES)
        )
    )


def parse_manifest(data: bytes, expected: str | None = None) -> Manifest:
    """Read manifest bytes, which must hash to ``expected`` when that is given. Raises BadVersionError."""
    actual = "sha256:" + sha256_of(data)
    if expected is not None and actual != check_digest(expected):
        raise BadVersionError(
            f"{MANIFEST} hashes to {actual}, not to the version {expected}: it was altered or mixed up"
        )
    try:
        manifest = Manifest.model_validate(json.loads(data))
    except (ValidationError, ValueError) as exc:
        raise BadVersionError(f"{MANIFEST} is not valid: {exc}") from exc
    missing = sorted(_REQUIRED - {entry.path for entry in manifest.files})
    if missing:
        raise BadVersionError(f"{MANIFEST} does not list {', '.join(missing)}: the version is incomplete")
    if manifest.to_bytes() != data:
        raise BadVersionError(f"{MANIFEST} is not in canonical JSON: it was edited after packaging")
    return manifest


def verify(folder: Path, expected: str | None = None) -> Version:
    """Check that a folder holds a version, whole and unaltered. Raises BadVersionError naming the first wrong file."""
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BadVersionError(f"{path} cannot be read: {folder} is not a packaged version ({exc.strerror})") from exc
    manifest = parse_manifest(data, expected)
    for entry in manifest.files:
        file = folder / entry.path
        if not file.is_file():
            raise BadVersionError(f"{file} is missing, though {MANIFEST} lists it: fetch the version again")
        if file.stat().st_size != entry.size or sha256_of_file(file) != entry.sha256:
            raise BadVersionError(
                f"{file} is not the file that {MANIFEST} lists (other bytes): fetch the version again"
            )
    return Version(folder=folder, digest=manifest.digest, manifest=manifest)
