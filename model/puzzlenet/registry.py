"""The registry: versions in a bucket of MinIO or any other S3, each under the hash of its content.

``versions/sha256-<hex>/`` holds the files of one version. The manifest is uploaded last and is what makes a
version visible, so an upload that is cut off leaves nothing that anybody could deploy; pushing again finishes
it. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and are never printed.
"""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from puzzlenet.errors import BadVersionError, RegistryError
from puzzlenet.files import new_folder, sha256_of
from puzzlenet.manifest import MANIFEST, Entry, Manifest, Version, check_digest, parse_manifest, verify

PREFIX = "versions/"
_MAX_JSON = 4 * 1024 * 1024
_MAX_FILE = 8 * 1024**3


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """Where the registry is. ``endpoint`` is host:port; ``secure`` means TLS."""

    endpoint: str
    bucket: str
    secure: bool = True

    def __post_init__(self) -> None:
        if "/" in self.endpoint or not self.endpoint:
            raise RegistryError(f"--endpoint '{self.endpoint}': give host:port without a scheme; --insecure means http")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: which version, and how many of its files the registry already had."""

    digest: str
    uploaded: int
    present: int


class Registry:
    """One bucket. Every method raises RegistryError with the endpoint and the fix when the store does not answer."""

    def __init__(self, location: Location, client: Minio) -> None:
        self._location = location
        self._client = client

    @classmethod
    def connect(cls, location: Location, environment: Mapping[str, str]) -> "Registry":
        """A client with the credentials of the environment; nothing is sent yet."""
        key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret:
            raise RegistryError("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5.0, read=60.0),
            retries=urllib3.Retry(total=2, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504)),
        )
        token = environment.get("AWS_SESSION_TOKEN")
        region = environment.get("AWS_REGION", "us-east-1")
        try:
            client = Minio(
                endpoint=location.endpoint,
                access_key=key,
                secret_key=secret,
                session_token=token,
                secure=location.secure,
                region=region,
                http_client=pool,
            )
        except ValueError as exc:
            raise RegistryError(f"--endpoint '{location.endpoint}' is not valid: {exc}") from exc
        return cls(location, client)

    def push(self, folder: Path) -> Pushed:
        """Upload a version folder. Doing it twice is harmless; a foreign object in its place is an error."""
        version = verify(folder)
        uploaded = 0
        with self._translated():
            for entry in version.manifest.files:
                uploaded += self._push_file(version, entry)
            name = self._key(version.digest, MANIFEST)
            data = version.manifest.to_bytes()
            known = self._get(name, _MAX_JSON) if self._stat(name) is not None else None
            if known is not None and known != data:
                raise RegistryError(f"{self._where(name)} holds another manifest: the registry was tampered with")
            if known is None:
                self._put(name, data, "application/json", sha256_of(data))
                uploaded += 1
        return Pushed(version.digest, uploaded, len(version.manifest.files) + 1 - uploaded)

    def versions(self) -> list[str]:
        """Digests of every visible version, sorted."""
        with self._translated():
            objects = self._client.list_objects(bucket_name=self._location.bucket, prefix=PREFIX, recursive=True)
            names = [item.object_name or "" for item in objects]
        found = []
        for name in names:
            folder, _, file = name.removeprefix(PREFIX).partition("/")
            if file == MANIFEST and folder.startswith("sha256-"):
                found.append(folder.replace("-", ":", 1))
        return sorted(found)

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a version, checked against its digest."""
        name = self._key(check_digest(digest), MANIFEST)
        with self._translated():
            if self._stat(name) is None:
                raise RegistryError(f"{digest} is not in bucket '{self._location.bucket}' of {self._location.endpoint}")
            return parse_manifest(self._get(name, _MAX_JSON), digest)

    def document(self, digest: str, name: str) -> dict[str, Any]:
        """One of a version's JSON files, checked against the manifest."""
        manifest = self.manifest(digest)
        entry = next((entry for entry in manifest.files if entry.path == name), None)
        if entry is None or entry.size > _MAX_JSON:
            raise BadVersionError(f"{digest} lists no readable {name}")
        with self._translated():
            data = self._get(self._key(digest, name), _MAX_JSON)
        if sha256_of(data) != entry.sha256:
            raise BadVersionError(f"{name} of {digest} is not the file that its manifest lists")
        value: dict[str, Any] = json.loads(data)
        return value

    def pull(self, digest: str, target: Path) -> Version:
        """Fetch a version into a new folder, which appears only when every file is there and verified."""
        manifest = self.manifest(digest)
        with new_folder(target) as work:
            with self._translated():
                for entry in manifest.files:
                    self._fetch(digest, entry, work / entry.path)
            (work / MANIFEST).write_bytes(manifest.to_bytes())
            verify(work, digest)
        return Version(folder=target, digest=digest, manifest=manifest)

    def _push_file(self, version: Version, entry: Entry) -> int:
        """Upload one file unless the registry has it whole; 1 when uploaded."""
        name = self._key(version.digest, entry.path)
        stat = self._stat(name)
        if stat is not None and stat == (entry.size, entry.sha256):
            return 0
        data = (version.folder / entry.path).read_bytes()
        if sha256_of(data) != entry.sha256:
            raise BadVersionError(f"{version.folder / entry.path} changed while it was uploaded: push again")
        kind = "application/json" if entry.path.endswith(".json") else "application/octet-stream"
        self._put(name, data, kind, entry.sha256)
        return 1

    def _fetch(self, digest: str, entry: Entry, path: Path) -> None:
        data = self._get(self._key(digest, entry.path), min(entry.size, _MAX_FILE))
        if len(data) != entry.size or sha256_of(data) != entry.sha256:
            raise BadVersionError(f"{entry.path} of {digest} is not the file that its manifest lists: it was altered")
        path.write_bytes(data)

    def _stat(self, name: str) -> tuple[int, str] | None:
        """Size and recorded SHA-256 of an object, or None when there is none."""
        try:
            found = self._client.stat_object(bucket_name=self._location.bucket, object_name=name)
        except S3Error as exc:
            if exc.code in ("NoSuchKey", "NoSuchObject"):
                return None
            raise
        metadata = found.metadata or {}
        return found.size or 0, str(metadata.get("x-amz-meta-sha256", ""))

    def _get(self, name: str, limit: int) -> bytes:
        """An object's bytes; at most one byte over ``limit``, which no verified file can have."""
        response = self._client.get_object(bucket_name=self._location.bucket, object_name=name)
        try:
            return bytes(response.read(limit + 1))
        finally:
            response.close()
            response.release_conn()

    def _put(self, name: str, data: bytes, kind: str, sha256: str) -> None:
        self._client.put_object(
            bucket_name=self._location.bucket,
            object_name=name,
            data=io.BytesIO(data),
            length=len(data),
            content_type=kind,
            metadata={"sha256": sha256},
        )

    def _key(self, digest: str, name: str) -> str:
        return f"{PREFIX}{digest.replace(':', '-', 1)}/{name}"

    def _where(self, name: str) -> str:
        return f"s3://{self._location.bucket}/{name}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the client's errors into one sentence each, none of which can hold a credential."""
        endpoint, bucket = self._location.endpoint, self._location.bucket
        try:
            yield
        except S3Error as exc:
            reason = _REASONS.get(exc.code or "", f"{{endpoint}} answered {exc.code} for bucket '{{bucket}}'")
            raise RegistryError(reason.format(endpoint=endpoint, bucket=bucket)) from exc
        except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, OSError) as exc:
            raise RegistryError(
                f"the registry at {endpoint} cannot be reached ({type(exc).__name__}): "
                "check --endpoint, and --insecure when it has no TLS"
            ) from exc


_REASONS = {
    "NoSuchBucket": "bucket '{bucket}' does not exist at {endpoint}: create it first",
    "NoSuchKey": "a file of the version is missing in bucket '{bucket}' of {endpoint}",
    "AccessDenied": "{endpoint} denies access to bucket '{bucket}': the key lacks the right for this",
    "InvalidAccessKeyId": "{endpoint} does not know the key in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "{endpoint} refuses the secret in AWS_SECRET_ACCESS_KEY",
}
