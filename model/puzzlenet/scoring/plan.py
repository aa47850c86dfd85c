"""Which pictures are whose, and in which part of the result they end. Pure: the same listing gives the same plan.

A picture belongs to a shard by the hash of its path, so that shards need no common list. A part's name holds the
hash of what goes into it: a part that exists is finished, and one that came from an older listing has another name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from puzzlenet.errors import PuzzleNetError
from puzzlenet.files import canonical_json, sha256_of

_SHARD = re.compile(r"(\d+)/(\d+)")
_MOST_SHARDS = 100_000


@dataclass(frozen=True, slots=True)
class Item:
    """A picture as listed: its path below the source, its size, and a mark that changes with its content."""

    path: str
    size: int
    mark: str


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several workers that share a folder, counted from 0."""

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of <= _MOST_SHARDS:
            raise PuzzleNetError(f"--shard {self.index}/{self.of}: give i/n with i from 0 to n-1, n at most 100000")

    def __str__(self) -> str:
        return f"{self.index:05d}-of-{self.of:05d}"

    def owns(self, path: str) -> bool:
        """Whether a picture is this worker's."""
        return int(sha256_of(path.encode("utf-8", "surrogateescape"))[:12], 16) % self.of == self.index


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures that end in one file."""

    items: tuple[Item, ...]
    name: str


def shard_of(text: str | None, environment: Mapping[str, str]) -> Shard:
    """``--shard i/n``, or the place in an Indexed Job, or everything. Raises PuzzleNetError saying what is wrong."""
    if text is not None:
        found = _SHARD.fullmatch(text)
        if found is None:
            raise PuzzleNetError(f"--shard '{text}': give i/n, such as 0/4")
        return Shard(int(found[1]), int(found[2]))
    index, of = environment.get("JOB_COMPLETION_INDEX"), environment.get("JOB_COMPLETIONS")
    if index is None and of is None:
        return Shard()
    if not (index and of and index.isdecimal() and of.isdecimal()):
        raise PuzzleNetError(
            f"JOB_COMPLETION_INDEX is '{index or ''}' and JOB_COMPLETIONS '{of or ''}': set both to numbers "
            "(Kubernetes sets the first only), or give --shard i/n"
        )
    return Shard(int(index), int(of))


def parts(items: Iterable[Item], shard: Shard, per_part: int, version: str) -> Iterator[Part]:
    """The shard's pictures, so many to a part, in the order of the listing; nothing is held but one part."""
    own = (item for item in items if shard.owns(item.path))
    number = 0
    while chunk := tuple(islice(own, per_part)):
        marks = [[item.path.encode("utf-8", "surrogateescape").hex(), item.size, item.mark] for item in chunk]
        digest = sha256_of(canonical_json([version, marks]))[:16]
        yield Part(chunk, f"{prefix(shard)}{number:06d}-{digest}.parquet")
        number += 1


def prefix(shard: Shard) -> str:
    """How the names of a shard's parts begin."""
    return f"part-{shard}-"
