"""Data sets in the registry: a manifest under the hash of its content, and pictures that all manifests share.

``datasets/sha256-<hex>/manifest.json`` lists pictures with label, line, time, source and side (train or test), so
that "which data made this model" has one answer. ``images/<2 hex>/<sha256>`` holds each picture once. The manifest
goes last: a cut-off upload leaves nothing visible. A folder that was pushed is found by its own digest too.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from puzzlenet.dataset import GROUPS_FILE, INFO_FILE, Dataset, DatasetInfo, Progress, Symmetries, open_dataset
from puzzlenet.errors import BadDataError, RegistryError
from puzzlenet.files import canonical_json, new_folder, sha256_of
from puzzlenet.images import MAX_BYTES, sniff
from puzzlenet.splits import together
from puzzlenet.store.bucket import MAX_JSON, POOL, Bucket

PREFIX = "datasets/"
Side = Literal["train", "test"]
_MINUTE = len("2025-11-24T21:51")

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(BaseModel):
    """One picture. ``source`` is its path in the folder it came from, or the piece that was photographed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Hex
    label: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^/\\\x00-\x1f.][^/\\\x00-\x1f]*$")]
    line: str
    time: str | None = None  # RFC 3339, UTC
    source: str | None = None
    prediction: str | None = None
    split: Side = "train"

    @property
    def order(self) -> tuple[str, str, str]:
        """What entries are sorted by."""
        return self.label, self.image, self.source or ""

    @property
    def piece(self) -> str:
        """The piece that is shown: the pictures of one request are of one piece (``id:0``, ``id:1``)."""
        if self.prediction is not None:
            return self.prediction.rpartition(":")[0] or self.prediction
        return self.source or self.image


class DatasetManifest(BaseModel):
    """A data set of the registry. ``folder`` is the digest of the folder it was pushed from."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    line: str
    classes: tuple[str, ...] = Field(min_length=2)
    symmetries: Symmetries = "none"
    profile: str | None = None
    folder: str | None = None
    parents: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = Field(min_length=1)

    @field_validator("entries")
    @classmethod
    def _sorted(cls, value: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return tuple(sorted(value, key=lambda entry: entry.order))

    def to_bytes(self) -> bytes:
        """The canonical bytes, whose hash is the data set's digest."""
        return canonical_json(self.model_dump(by_alias=True))

    @property
    def digest(self) -> str:
        """``sha256:<64 hex>``."""
        return "sha256:" + sha256_of(self.to_bytes())

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines that pictures are of."""
        return tuple(sorted({entry.line for entry in self.entries}))

    def of(self, side: Side) -> tuple[Entry, ...]:
        """The pictures of one side."""
        return tuple(entry for entry in self.entries if entry.split == side)

    def counts(self) -> dict[str, int]:
        """Pictures for each label."""
        found = Counter(entry.label for entry in self.entries)
        return {name: found[name] for name in self.classes}


@dataclass(frozen=True, slots=True)
class PushedDataset:
    """What a push did: which data set, and how many pictures the registry lacked."""

    digest: str
    images: int
    uploaded: int


def groups_of(entries: Iterable[Entry], unit: int = _MINUTE) -> list[str]:
    """The group of each entry: same piece, same bytes, or same line and minute (``unit`` leading signs of the time)."""
    listed = list(entries)
    moments = [f"{entry.line} {entry.time[:unit]}" if entry.time and unit else None for entry in listed]
    return together([entry.piece for entry in listed], moments, [entry.image for entry in listed])


def describe(dataset: Dataset, line: str) -> tuple[DatasetManifest, dict[str, Path]]:
    """The manifest of a folder, and where each picture lies."""
    entries, places = [], {}
    for path, label in dataset.items:
        image = sha256_of(path.read_bytes())
        source = path.relative_to(dataset.root).as_posix()
        places[image] = path
        entries.append(Entry(image=image, label=dataset.classes[label], line=line, source=source))
    manifest = DatasetManifest(
        line=line,
        classes=dataset.classes,
        symmetries=dataset.symmetries,
        profile=dataset.info.profile if dataset.info else None,
        folder=dataset.digest(),
        entries=tuple(entries),
    )
    return manifest, places


class Datasets:
    """The data sets of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def push_folder(self, folder: Path, line: str, progress: Progress | None = None) -> PushedDataset:
        """Upload a folder. Doing it twice is harmless."""
        manifest, places = describe(open_dataset(folder), line)
        return self.push(manifest, lambda image: places[image].read_bytes(), progress)

    def push(
        self, manifest: DatasetManifest, read: Callable[[str], bytes], progress: Progress | None = None
    ) -> PushedDataset:
        """Upload a data set; the pictures that the registry lacks first, the manifest last."""
        images = sorted({entry.image for entry in manifest.entries})
        missing = self._lacking(images)

        def upload(image: str) -> None:
            data = read(image)
            if sha256_of(data) != image:
                raise BadDataError(f"picture {image} changed while it was uploaded: push again")
            self._bucket.put(image_key(image), data, f"image/{sniff(data)}")

        with ThreadPoolExecutor(POOL) as pool:
            for done, _ in enumerate(pool.map(upload, missing), start=1):
                if progress is not None:
                    progress(done, len(missing))
        self._bucket.put(_key(manifest.digest, "manifest.json"), manifest.to_bytes(), "application/json")
        # Garbage collection may have taken a picture of long ago before this manifest was there to need it.
        for image in self._lacking(sorted(set(images) - set(missing))):
            upload(image)
        if manifest.folder is not None and self._bucket.stat(_key(manifest.folder, "alias.json")) is None:
            self._bucket.put_json(_key(manifest.folder, "alias.json"), {"manifest": manifest.digest})
        return PushedDataset(manifest.digest, len(images), len(missing))

    def _lacking(self, images: Collection[str]) -> list[str]:
        if not images:
            return []
        present = {item.key for item in self._bucket.list("images/")}
        return [image for image in images if image_key(image) not in present]

    def digests(self) -> list[str]:
        """Every visible data set, sorted."""
        return sorted(self.dated())

    def dated(self) -> dict[str, float]:
        """Every visible data set, and when it was published (seconds since 1970)."""
        found = {}
        for item in self._bucket.list(PREFIX):
            name, _, file = item.key.removeprefix(PREFIX).partition("/")
            if file == "manifest.json":
                found[name.replace("-", ":", 1)] = item.modified
        return found

    def remove(self, digest: str) -> None:
        """Remove a data set's manifest, then the folder's digest that stands for it; pictures may be others' too."""
        folder = self.manifest(digest).folder
        self._bucket.remove(_key(digest, "manifest.json"))
        if folder is not None:
            alias = self._bucket.document(_key(folder, "alias.json"))
            if alias is not None and alias.get("manifest") == digest:
                self._bucket.remove(_key(folder, "alias.json"))

    def manifest(self, digest: str) -> DatasetManifest:
        """A data set by its own digest or by that of the folder it was pushed from. Raises RegistryError."""
        key = _key(digest, "manifest.json")
        data = self._bucket.find(key, MAX_JSON)
        if data is None:
            alias = self._bucket.document(_key(digest, "alias.json"))
            if alias is None:
                raise RegistryError(
                    f"data set {digest} is not in bucket '{self._bucket.location.bucket}': "
                    "upload it with `puzzlenet dataset push`"
                )
            return self.manifest(str(alias["manifest"]))
        if "sha256:" + sha256_of(data) != digest:
            raise RegistryError(f"{self._bucket.where(key)} is not the data set {digest}: it was altered")
        try:
            return DatasetManifest.model_validate(json.loads(data))
        except (ValidationError, ValueError) as exc:
            raise RegistryError(f"{self._bucket.where(key)} is not a valid data set: {exc}") from exc

    def image(self, image: str) -> bytes:
        """A picture, checked against its hash."""
        data = self._bucket.get(image_key(image), MAX_BYTES)
        if sha256_of(data) != image:
            raise RegistryError(
                f"{self._bucket.where(image_key(image))} is not the picture that it was: it was altered"
            )
        return data

    def images(self, wanted: Collection[str], progress: Progress | None = None) -> dict[str, bytes]:
        """Several pictures by hash."""
        names = sorted(set(wanted))
        found = {}
        with ThreadPoolExecutor(POOL) as pool:
            for done, (name, data) in enumerate(zip(names, pool.map(self.image, names), strict=True), start=1):
                found[name] = data
                if progress is not None:
                    progress(done, len(names))
        return found

    def pull(
        self, digest: str, out: Path, side: Side | None = None, progress: Progress | None = None
    ) -> DatasetManifest:
        """Fetch a data set, or one side of it, as a folder to train on."""
        manifest = self.manifest(digest)
        entries = manifest.entries if side is None else manifest.of(side)
        materialise(manifest, entries, self.images([entry.image for entry in entries], progress), out)
        return manifest


def materialise(
    manifest: DatasetManifest,
    entries: Collection[Entry],
    images: Mapping[str, bytes],
    out: Path,
    repeat: Mapping[str, int] | None = None,
    unit: int = _MINUTE,
) -> None:
    """Write pictures as a folder ``<label>/…`` with its description and groups. ``repeat``: copies of a picture.
    ``unit``: of `groups_of`.

    A folder that was pushed comes back with the same names, so that the same seed draws the same split of it.
    """
    groups: dict[str, str] = {}
    listed = list(entries)
    with new_folder(out) as work:
        for entry, group in zip(listed, groups_of(listed, unit), strict=True):
            first: Path | None = None
            for copy in range((repeat or {}).get(entry.image, 1)):
                name = _free(groups, entry, sniff(images[entry.image]), copy)
                path = work / name
                path.parent.mkdir(exist_ok=True)
                if first is None:
                    path.write_bytes(images[entry.image])
                    first = path
                else:
                    os.link(first, path)
                groups[name] = group
        if len(set(groups.values())) < len(groups):
            (work / GROUPS_FILE).write_bytes(canonical_json(groups))
        written = open_dataset(work, classes=manifest.classes)
        info = DatasetInfo(
            kind="registry",
            classes=manifest.classes,
            counts=written.counts(),
            digest=written.digest(),
            symmetries=manifest.symmetries,
            profile=manifest.profile,
            manifest=manifest.digest,
        )
        (work / INFO_FILE).write_bytes(info.to_json())


def image_key(image: str) -> str:
    """The key of a picture."""
    return f"images/{image[:2]}/{image}"


def _free(taken: Collection[str], entry: Entry, kind: str, copy: int) -> str:
    """A name for a picture that no other has: its own where it came from a folder with the same label."""
    suffix = "jpg" if kind == "jpeg" else kind
    own = PurePosixPath(entry.source or "")
    named = len(own.parts) == 2 and own.parts[0] == entry.label and entry.prediction is None
    stem, end = (own.stem, own.suffix) if named else (entry.image, f".{suffix}")
    name, number = f"{entry.label}/{stem}{end}", copy
    while name in taken:
        number += 1
        name = f"{entry.label}/{stem}-{number}{end}"
    return name


def _key(digest: str, name: str) -> str:
    if not digest.startswith("sha256:") or len(digest) != 71:
        raise RegistryError(f"'{digest}' is not a data set: it is spelled sha256: and 64 lower-case hex digits")
    return f"{PREFIX}{digest.replace(':', '-', 1)}/{name}"
