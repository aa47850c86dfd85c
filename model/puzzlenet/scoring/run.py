"""One shard of a run: list, skip what is finished, read ahead, answer, write part by part."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from puzzlenet.errors import BadDataError, BadImageError
from puzzlenet.files import pretty_json
from puzzlenet.predictor import Predictor
from puzzlenet.scoring.places import Place, UnreadableError
from puzzlenet.scoring.plan import Item, Part, Shard, parts, prefix
from puzzlenet.scoring.table import Row, to_parquet, verdicts
from puzzlenet.scoring.tally import Tally, describe, finished


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a shard is. ``skipped`` images were answered by an earlier, unfinished run."""

    shard: Shard
    images: int
    bad: int
    skipped: int
    rate: float  # images a second, of those answered now


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One worker's share of a run. ``batch`` pictures go through the network at once, ``per_part`` into a file."""

    source: Place
    target: Place
    shard: Shard
    version: str
    per_part: int = 1000
    batch: int = 64
    readers: int = 8


def score(
    predictor: Predictor,
    job: Job,
    on_progress: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Answer a shard's pictures into ``job.target``; the counts, of parts that were there already too.

    A picture that cannot be read or decoded is a row with an error. Raises PuzzleNetError when the source has no
    pictures, a place is away or the target is another run's.
    """
    listing = job.source.pictures()
    first = next(listing, None)
    if first is None:
        raise BadDataError(f"{job.source.name} holds no .png or .jpg files: there is nothing to score")
    run = {"schema": 1, "version": job.version, "source": job.source.name, "shards": job.shard.of}
    describe(job.target, {**run, "per_part": job.per_part})
    job.target.remove(finished(job.shard))
    present, wanted = set(job.target.names(prefix(job.shard))), set[str]()
    tally, skipped, started = Tally(), 0, clock()
    for part in parts(chain([first], listing), job.shard, job.per_part, job.version):
        wanted.add(part.name)
        if part.name in present:
            skipped += len(part.items)
            for found in verdicts(job.target.read(part.name) or b"", part.name):
                tally.add(*found)
            continue
        rows: list[Row] = []
        for row in _rows(predictor, job, part):
            rows.append(row)
            tally.add(row.label, row.confidence, row.error)
            rate = (tally.images - skipped) / max(1e-9, clock() - started)
            on_progress(Progress(shard=job.shard, images=tally.images, bad=tally.bad, skipped=skipped, rate=rate))
        job.target.write(part.name, to_parquet(rows, predictor.config.classes, job.version))
    for name in present - wanted:  # of a listing that has changed since
        job.target.remove(name)
    job.target.write(finished(job.shard), pretty_json(tally.to_dict()))
    return tally


def _rows(predictor: Predictor, job: Job, part: Part) -> Iterator[Row]:
    """The part's rows in order. The next batch is read while the network answers this one."""
    batches = [part.items[start : start + job.batch] for start in range(0, len(part.items), job.batch)]
    with ThreadPoolExecutor(job.readers) as pool:
        ahead = [pool.submit(_read, job.source, item) for item in batches[0]]
        for index, items in enumerate(batches):
            now = ahead
            if index + 1 < len(batches):
                ahead = [pool.submit(_read, job.source, item) for item in batches[index + 1]]
            yield from _answer(predictor, items, [one.result() for one in now])


def _read(source: Place, item: Item) -> bytes | str:
    """A picture's bytes, or why they cannot be had."""
    try:
        return source.picture(item)
    except UnreadableError as exc:
        return str(exc)


def _answer(predictor: Predictor, items: Sequence[Item], read: Sequence[bytes | str]) -> list[Row]:
    """Rows for a batch, by the server's own decoder and network."""
    decoded = [_decode(predictor, one) for one in read]
    pixels = [one for one in decoded if not isinstance(one, str)]
    answers = iter(predictor.answer(np.stack(pixels)) if pixels else [])
    return [
        Row(item.path, None, one) if isinstance(one, str) else Row(item.path, next(answers))
        for item, one in zip(items, decoded, strict=True)
    ]


def _decode(predictor: Predictor, read: bytes | str) -> NDArray[np.uint8] | str:
    if isinstance(read, str):
        return read
    try:
        return predictor.decode(read)
    except BadImageError as exc:
        return str(exc)
    except Exception as exc:  # whatever a decoder makes of hostile bytes, the other pictures are not to blame
        return f"the image cannot be decoded: {type(exc).__name__}"
