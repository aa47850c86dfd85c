"""Golden sets: the pictures of a line that every challenger is judged on, written once and never trained on.

``lines/<line>/golden/<n>.json`` is numbered; the newest counts, and the old ones stay, so that a verdict can be
traced to the pictures that it was reached on.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from puzzlenet.errors import BadDataError, RegistryError
from puzzlenet.files import canonical_json
from puzzlenet.store.bucket import Bucket
from puzzlenet.store.datasets import Hex


class GoldenEntry(BaseModel):
    """A picture and what it shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Hex
    label: str


class Golden(BaseModel):
    """A golden set. ``dataset`` is where its newest pictures came from."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    line: str
    number: int = Field(ge=1)
    at: str
    dataset: str
    entries: tuple[GoldenEntry, ...] = Field(min_length=1)

    @property
    def images(self) -> frozenset[str]:
        """The pictures."""
        return frozenset(entry.image for entry in self.entries)

    @property
    def name(self) -> str:
        """How it is called in reports."""
        return f"{self.line}/{self.number}"


class GoldenSets:
    """The golden sets of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def newest(self, line: str) -> Golden | None:
        """The newest golden set of a line, None where there is none."""
        numbers = self._numbers(line)
        return self.read(line, max(numbers)) if numbers else None

    def read(self, line: str, number: int) -> Golden:
        """One golden set. Raises RegistryError when it is missing or damaged."""
        key = _key(line, number)
        data = self._bucket.find(key)
        if data is None:
            raise RegistryError(f"{self._bucket.where(key)} does not exist: see `puzzlenet golden list --line {line}`")
        try:
            return Golden.model_validate(json.loads(data))
        except (ValidationError, ValueError) as exc:
            raise RegistryError(f"{self._bucket.where(key)} is not a valid golden set: {exc}") from exc

    def all(self, line: str) -> list[Golden]:
        """Every golden set of a line, oldest first."""
        return [self.read(line, number) for number in self._numbers(line)]

    def lines(self) -> list[str]:
        """Lines that have a golden set."""
        return lines_with(self._bucket, "golden")

    def freeze(self, line: str, entries: Iterable[GoldenEntry], dataset: str, now: datetime) -> Golden:
        """Write the next golden set of a line, unless the newest holds the same pictures with the same labels."""
        chosen = tuple(sorted({(entry.image, entry.label) for entry in entries}))
        if not chosen:
            raise BadDataError(f"data set {dataset} has no picture of line {line} to freeze")
        newest = self.newest(line)
        if newest is not None and tuple((entry.image, entry.label) for entry in newest.entries) == chosen:
            return newest
        golden = Golden(
            line=line,
            number=newest.number + 1 if newest else 1,
            at=now.isoformat(),
            dataset=dataset,
            entries=tuple(GoldenEntry(image=image, label=label) for image, label in chosen),
        )
        key = _key(line, golden.number)
        if self._bucket.stat(key) is not None:
            raise RegistryError(f"{self._bucket.where(key)} was written meanwhile: golden sets are never rewritten")
        self._bucket.put(key, canonical_json(golden.model_dump(by_alias=True)), "application/json")
        return golden

    def _numbers(self, line: str) -> list[int]:
        prefix = _prefix(line)
        names = (item.key.removeprefix(prefix).removesuffix(".json") for item in self._bucket.list(prefix))
        return sorted(int(name) for name in names if name.isdigit())


def _prefix(line: str) -> str:
    return f"{line_prefix(line)}golden/"


def lines_with(bucket: Bucket, folder: str) -> list[str]:
    """Lines that have something in a folder of theirs."""
    names = (item.key.split("/") for item in bucket.list("lines/"))
    return sorted({parts[1] for parts in names if len(parts) == 4 and parts[2] == folder})


def line_prefix(line: str) -> str:
    """Where everything of a line lies. Raises BadDataError for a name that could leave it."""
    if not line or "/" in line or line.startswith("."):
        raise BadDataError(f"--line '{line}': a line's name is not empty and has no slash")
    return f"lines/{line}/"


def _key(line: str, number: int) -> str:
    return f"{_prefix(line)}{number}.json"
