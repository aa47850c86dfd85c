"""Writes container images as one OCI archive in a stream that goes right into `ctr images import -`.

Two kinds of layers: files picked one by one (the cluster's own images hold a single program each, so they need no
builder) and a folder that an image builder has left in its overlay storage. A layer is a deterministic, uncompressed
tar, hashed in a first pass and written in a second: there is no archive on disk at any time. Layers that the receiver
holds already are named, but not written. Format: OCI image layout 1.0.
"""

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Sink(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> int: ...


class Layer(Protocol):
    """Contents that can be written as a tar, the same bytes every time."""

    def write(self, sink: Sink) -> None: ...


@dataclass(frozen=True)
class Described:
    """A layer with the digest (sha256:...) and size of its tar. A `held` one is known to the receiver."""

    layer: Layer
    digest: str
    size: int
    held: bool = False


@dataclass(frozen=True)
class Assembled:
    """An image ready to be written: full reference, run-time configuration, layers from the bottom up."""

    name: str
    config: Mapping[str, object]
    layers: tuple[Described, ...]


@dataclass(frozen=True)
class Entry:
    """One path in an image: a copied file (`source`), a link (`link`), or, with neither, a folder."""

    path: str
    source: Path | None = None
    link: str | None = None
    mode: int = 0o755


@dataclass(frozen=True)
class Image:
    """A single-layer image of picked files. `name` is the full reference with its tag."""

    name: str
    entries: tuple[Entry, ...]
    entrypoint: tuple[str, ...]
    user: str = "65532:65532"
    environment: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",)

    def assemble(self) -> Assembled:
        """The image with its layer's digest."""
        config = {"User": self.user, "Env": list(self.environment), "Entrypoint": list(self.entrypoint)}
        return Assembled(self.name, config, (describe(FilesLayer(self.entries)),))


class _Meter:
    """Counts and hashes what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self.hash.update(data)
        self.size += len(data)
        return len(data)


def describe(layer: Layer) -> Described:
    """Digest and size of a layer, by writing it to nowhere."""
    meter = _Meter()
    layer.write(meter)
    return Described(layer, f"sha256:{meter.hash.hexdigest()}", meter.size)


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in order of path, with a folder entry for every missing parent; the first of equals wins."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry.path.rstrip("/"), entry)
    for path in list(found):
        for parent in Path(path).parents:
            if str(parent) != "/":
                found.setdefault(str(parent), Entry(str(parent)))
    return [found[path] for path in sorted(found)]


def _tar(sink: Sink) -> tarfile.TarFile:
    return tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class FilesLayer:
    """A layer of picked files, owned by root and without dates."""

    entries: tuple[Entry, ...]

    def write(self, sink: Sink) -> None:
        with _tar(sink) as tar:
            for entry in with_parents(self.entries):
                info = tarfile.TarInfo(entry.path.lstrip("/"))
                info.mode = entry.mode
                if entry.source is not None:
                    info.size = entry.source.stat().st_size
                    with entry.source.open("rb") as content:
                        tar.addfile(info, content)
                    continue
                info.type = tarfile.DIRTYPE if entry.link is None else tarfile.SYMTYPE
                info.linkname = entry.link or ""
                tar.addfile(info)


@dataclass(frozen=True)
class OverlayLayer:
    """The upper folder of an overlay mount as a layer: deletions become the whiteout entries of the OCI format."""

    folder: Path

    def _members(self, tar: tarfile.TarFile, folder: Path) -> Iterator[tuple[tarfile.TarInfo, Path]]:
        for path in sorted(folder.iterdir(), key=lambda p: p.name):
            name, status = str(path.relative_to(self.folder)), path.lstat()
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                yield tarfile.TarInfo(f"{name[: -len(path.name)]}.wh.{path.name}"), path
                continue
            info = tar.gettarinfo(str(path), name)
            if info is None:  # a socket
                continue
            info.uname = info.gname = ""
            info.mtime = int(info.mtime)
            yield info, path
            if stat.S_ISDIR(status.st_mode):
                if _opaque(path):
                    yield tarfile.TarInfo(f"{name}/.wh..wh..opq"), path
                yield from self._members(tar, path)

    def write(self, sink: Sink) -> None:
        with _tar(sink) as tar:
            for info, path in self._members(tar, self.folder):
                if info.isreg() and info.size:
                    with path.open("rb") as content:
                        tar.addfile(info, content)
                else:
                    tar.addfile(info)


def _opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _blob(data: bytes, media: str) -> dict[str, object]:
    return {"mediaType": media, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _encode(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _config(image: Assembled) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in image.layers]}
    history = [{"created_by": "tests.cluster"} for _ in image.layers]
    fixed = {"architecture": "amd64", "os": "linux", "rootfs": rootfs, "history": history}
    return _encode({**fixed, "config": dict(image.config)})


class _Archive:
    """The outer tar of an OCI layout; blobs that two images share are written once."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._written: set[str] = set()
        self.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def _begin(self, name: str, size: int) -> bool:
        if name in self._written:
            return False
        self._written.add(name)
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        self._out.write(info.tobuf(tarfile.GNU_FORMAT))
        return True

    def _pad(self, size: int) -> None:
        self._out.write(b"\0" * (-size % tarfile.BLOCKSIZE))

    def add(self, name: str, data: bytes) -> None:
        if self._begin(name, len(data)):
            self._out.write(data)
            self._pad(len(data))

    def add_layer(self, described: Described) -> None:
        name = f"blobs/sha256/{described.digest.removeprefix('sha256:')}"
        if not described.held and self._begin(name, described.size):
            described.layer.write(self._out)
            self._pad(described.size)

    def close(self) -> None:
        self._out.write(b"\0" * tarfile.RECORDSIZE)


def write_archive(images: Sequence[Assembled], out: IO[bytes]) -> None:
    """Write all images as one OCI archive; `ctr images import` names them by the index's annotations."""
    archive = _Archive(out)
    index = []
    for image in images:
        for layer in image.layers:
            archive.add_layer(layer)
        config = _config(image)
        layers = [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in image.layers]
        content = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _blob(config, _CONFIG),
            "layers": layers,
        }
        manifest = _encode(content)
        for data in (config, manifest):
            archive.add(f"blobs/sha256/{hashlib.sha256(data).hexdigest()}", data)
        annotations = {"io.containerd.image.name": image.name}
        index.append({**_blob(manifest, _MANIFEST), "annotations": annotations})
    archive.add("index.json", _encode({"schemaVersion": 2, "manifests": index}))
    archive.close()


def archive_bytes(images: Sequence[Assembled]) -> bytes:
    """The archive in memory, for tests."""
    buffer = io.BytesIO()
    write_archive(images, buffer)
    return buffer.getvalue()
