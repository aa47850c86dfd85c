"""A prefix in a bucket as a place for pictures and results."""

from collections.abc import Iterator

from minio.error import S3Error

from puzzlenet.errors import RegistryError
from puzzlenet.images import MAX_BYTES
from puzzlenet.scoring.places import Access, UnreadableError, is_picture
from puzzlenet.scoring.plan import Item
from puzzlenet.store.bucket import GONE, MAX_FILE, Bucket, Location

# Seconds that a store may be away before a shard gives up, to be run again by its Job.
_PATIENCE = 60.0


class BucketPlace:
    """Objects below a prefix. An upload appears whole or not at all, which is S3's own promise."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.name = bucket.where(self._prefix).rstrip("/")

    @classmethod
    def connect(cls, access: Access, bucket: str, prefix: str) -> "BucketPlace":
        """A client with the credentials of the environment; nothing is sent yet."""
        location = Location(endpoint=access.endpoint, bucket=bucket, secure=access.secure)
        return cls(Bucket.connect(location, access.environment, _PATIENCE), prefix)

    def pictures(self) -> Iterator[Item]:
        """Page by page, as S3 lists: by key."""
        for found in self._bucket.walk(self._prefix):
            path = found.key.removeprefix(self._prefix)
            if is_picture(path):
                yield Item(path, found.size, str(found.modified))

    def picture(self, item: Item) -> bytes:
        """Fetch an object, or the beginning of a large one."""
        data = self._get(self._prefix + item.path, MAX_BYTES)
        if data is None:
            raise UnreadableError("the image cannot be read: it is gone since it was listed")
        return data

    def names(self, beginning: str) -> list[str]:
        """List below the prefix, without what lies deeper."""
        names = [found.key.removeprefix(self._prefix) for found in self._bucket.list(self._prefix + beginning)]
        return sorted(name for name in names if "/" not in name)

    def read(self, name: str) -> bytes | None:
        """Fetch an object."""
        return self._get(self._prefix + name, MAX_FILE)

    def write(self, name: str, data: bytes) -> None:
        """Store an object."""
        self._bucket.put(self._prefix + name, data)

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._bucket.remove(self._prefix + name)

    def _get(self, key: str, limit: int) -> bytes | None:
        """An object or None, in one request: asking first whether it is there would double the requests."""
        try:
            return self._bucket.get(key, limit)
        except RegistryError as exc:
            if isinstance(exc.__cause__, S3Error) and exc.__cause__.code in GONE:
                return None
            raise
