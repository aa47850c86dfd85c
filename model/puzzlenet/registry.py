"""The registry: versions in a bucket of MinIO or any other S3, each under the hash of its content.

``versions/sha256-<hex>/`` holds the files of one version. The manifest is uploaded last and is what makes a
version visible, so an upload that is cut off leaves nothing that anybody could deploy; pushing again finishes
it. ``model.sig`` lies beside the manifest and not in it, since it signs it. Credentials come from
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and are never printed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minio import Minio

from puzzlenet.errors import BadVersionError, RegistryError
from puzzlenet.files import new_folder, sha256_of
from puzzlenet.manifest import MANIFEST, SIGNATURE, Entry, Manifest, Version, check_digest, parse_manifest, verify
from puzzlenet.store.bucket import MAX_FILE, Bucket, Location

__all__ = ["Location", "Pushed", "Registry"]

PREFIX = "versions/"
_MAX_JSON = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: which version, and how many of its files the registry already had."""

    digest: str
    uploaded: int
    present: int


class Registry:
    """One bucket. Every method raises RegistryError with the endpoint and the fix when the store does not answer."""

    def __init__(self, location: Location, client: Minio, patience: float = 0.0) -> None:
        self.bucket = Bucket(location, client, patience)

    @classmethod
    def of(cls, bucket: Bucket) -> "Registry":
        """The registry in a bucket that is connected already."""
        made = cls.__new__(cls)
        made.bucket = bucket
        return made

    @classmethod
    def connect(cls, location: Location, environment: Mapping[str, str], patience: float = 0.0) -> "Registry":
        """A client with the credentials of the environment; nothing is sent yet."""
        return cls.of(Bucket.connect(location, environment, patience))

    def push(self, folder: Path) -> Pushed:
        """Upload a version folder. Doing it twice is harmless; a foreign object in its place is an error."""
        version = verify(folder)
        uploaded = sum(self._push_file(version, entry) for entry in version.manifest.files)
        total = len(version.manifest.files) + 1
        if (folder / SIGNATURE).is_file():
            total += 1
            uploaded += self._push_signature(version)
        name = key_of(version.digest, MANIFEST)
        data = version.manifest.to_bytes()
        known = self.bucket.find(name, _MAX_JSON)
        if known is not None and known != data:
            raise RegistryError(f"{self.bucket.where(name)} holds another manifest: the registry was tampered with")
        if known is None:
            self.bucket.put(name, data, "application/json")
            uploaded += 1
        return Pushed(version.digest, uploaded, total - uploaded)

    def versions(self) -> list[str]:
        """Digests of every visible version, sorted."""
        return sorted(self.dated())

    def dated(self) -> dict[str, float]:
        """Every visible version, and when it was published (seconds since 1970)."""
        found = {}
        for item in self.bucket.list(PREFIX):
            folder, _, file = item.key.removeprefix(PREFIX).partition("/")
            if file == MANIFEST and folder.startswith("sha256-"):
                found[folder.replace("-", ":", 1)] = item.modified
        return found

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a version, checked against its digest."""
        data = self.bucket.find(key_of(check_digest(digest), MANIFEST), _MAX_JSON)
        if data is None:
            location = self.bucket.location
            raise RegistryError(f"{digest} is not in bucket '{location.bucket}' of {location.endpoint}")
        return parse_manifest(data, digest)

    def document(self, digest: str, name: str) -> dict[str, Any]:
        """One of a version's JSON files, checked against the manifest."""
        manifest = self.manifest(digest)
        entry = next((entry for entry in manifest.files if entry.path == name), None)
        if entry is None or entry.size > _MAX_JSON:
            raise BadVersionError(f"{digest} lists no readable {name}")
        data = self.bucket.get(key_of(digest, name), _MAX_JSON)
        if sha256_of(data) != entry.sha256:
            raise BadVersionError(f"{name} of {digest} is not the file that its manifest lists")
        value: dict[str, Any] = json.loads(data)
        return value

    def pull(self, digest: str, target: Path) -> Version:
        """Fetch a version into a new folder, which appears only when every file is there and verified."""
        manifest = self.manifest(digest)
        with new_folder(target) as work:
            for entry in manifest.files:
                self._fetch(digest, entry, work / entry.path)
            (work / MANIFEST).write_bytes(manifest.to_bytes())
            verify(work, digest)
            signature = self.bucket.find(key_of(digest, SIGNATURE), _MAX_JSON)
            if signature is not None:
                (work / SIGNATURE).write_bytes(signature)
        return Version(folder=target, digest=digest, manifest=manifest)

    def remove(self, digest: str) -> None:
        """Remove a version; its manifest first, so that half of it is never visible."""
        self.bucket.remove(key_of(check_digest(digest), MANIFEST))
        for item in self.bucket.list(key_of(digest, "")):
            self.bucket.remove(item.key)

    def _push_file(self, version: Version, entry: Entry) -> int:
        """Upload one file unless the registry has it whole; 1 when uploaded."""
        name = key_of(version.digest, entry.path)
        if self.bucket.stat(name) == (entry.size, entry.sha256):
            return 0
        data = (version.folder / entry.path).read_bytes()
        if sha256_of(data) != entry.sha256:
            raise BadVersionError(f"{version.folder / entry.path} changed while it was uploaded: push again")
        kind = "application/json" if entry.path.endswith(".json") else "application/octet-stream"
        self.bucket.put(name, data, kind)
        return 1

    def _push_signature(self, version: Version) -> int:
        """A new signature takes the place of an old one: keys are rotated."""
        name, data = key_of(version.digest, SIGNATURE), (version.folder / SIGNATURE).read_bytes()
        if self.bucket.stat(name) == (len(data), sha256_of(data)):
            return 0
        self.bucket.put(name, data, "application/json")
        return 1

    def _fetch(self, digest: str, entry: Entry, path: Path) -> None:
        data = self.bucket.get(key_of(digest, entry.path), min(entry.size, MAX_FILE))
        if len(data) != entry.size or sha256_of(data) != entry.sha256:
            raise BadVersionError(f"{entry.path} of {digest} is not the file that its manifest lists: it was altered")
        path.write_bytes(data)


def key_of(digest: str, name: str) -> str:
    """The key of a file of a version."""
    return f"{PREFIX}{digest.replace(':', '-', 1)}/{name}"
