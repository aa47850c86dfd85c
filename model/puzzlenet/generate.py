"""Data sets of rendered pieces, written to a folder by as many processes as asked for.

Image i of seed s has a random generator of its own, so the bytes do not depend on how many workers drew them.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from puzzlenet.dataset import INFO_FILE, DatasetInfo, Progress, digest_of
from puzzlenet.errors import BadDataError
from puzzlenet.files import new_folder, sha256_of
from puzzlenet.render import CLASSES, PROFILES, render
from puzzlenet.render.piece import Label

Format = Literal["png", "jpeg", "mixed"]
OK_SHARE = 0.3
_CHUNK = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to draw. ``corrupt_labels`` is the share of images filed under a wrong label, for rehearsals of bad data."""

    profile: str
    count: int
    seed: int
    format: Format = "png"
    corrupt_labels: float = 0.0

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise BadDataError(f"--profile {self.profile} is unknown: choose one of {', '.join(PROFILES)}")
        if not len(CLASSES) <= self.count <= 1_000_000:
            raise BadDataError(
                f"--count {self.count}: choose {len(CLASSES)} to 1000000 images, one of each class at least"
            )
        if self.seed < 0:
            raise BadDataError(f"--seed {self.seed}: choose a number that is not negative")
        if not 0.0 <= self.corrupt_labels <= 1.0:
            raise BadDataError(f"--corrupt-labels {self.corrupt_labels}: choose a share between 0 and 1")


@dataclass(frozen=True, slots=True)
class Piece:
    """One image to draw: what it truly shows, and the label it is filed under."""

    index: int
    truth: Label
    label: Label


def plan(order: Order) -> tuple[Piece, ...]:
    """Labels of every image of an order: 30 % are ok, the defects share the rest evenly, shuffled by the seed."""
    rng = np.random.default_rng([order.seed, 0])
    ok = max(1, round(OK_SHARE * order.count))
    defects = CLASSES[1:]
    truths = [CLASSES[0]] * ok + [defects[i % len(defects)] for i in range(order.count - ok)]
    truths = [truths[i] for i in rng.permutation(order.count)]
    wrong = set(rng.permutation(order.count)[: round(order.corrupt_labels * order.count)].tolist())
    shifts = rng.integers(1, len(CLASSES), size=order.count)
    pieces = []
    for index, truth in enumerate(truths):
        other = CLASSES[(CLASSES.index(truth) + int(shifts[index])) % len(CLASSES)]
        pieces.append(Piece(index, truth, other if index in wrong else truth))
    return tuple(pieces)


def draw(order: Order, piece: Piece) -> tuple[str, bytes]:
    """One image as its path inside the data set and its file's bytes."""
    rng = np.random.default_rng([order.seed, 1, piece.index])
    image = Image.fromarray(render(PROFILES[order.profile], piece.truth, rng))
    as_jpeg = order.format == "jpeg" or (order.format == "mixed" and piece.index % 2 == 1)
    out = io.BytesIO()
    if as_jpeg:
        image.save(out, "JPEG", quality=92)
    else:
        image.save(out, "PNG", compress_level=1)
    suffix = "jpg" if as_jpeg else "png"
    return f"{piece.label}/{order.profile}-s{order.seed}-{piece.index:06d}.{suffix}", out.getvalue()


def generate(order: Order, target: Path, *, workers: int = 1, progress: Progress | None = None) -> DatasetInfo:
    """Write a data set. Raises PuzzleNetError when the target is not a new or empty folder."""
    pieces = plan(order)
    entries: list[tuple[str, str]] = []
    with new_folder(target) as work:
        for label in CLASSES:
            (work / label).mkdir()
        for chunk in _drawn(order, pieces, work, workers):
            entries.extend(chunk)
            if progress is not None:
                progress(len(entries), len(pieces))
        for label in CLASSES:
            if not any((work / label).iterdir()):
                (work / label).rmdir()
        counts: dict[str, int] = {label: sum(piece.label == label for piece in pieces) for label in CLASSES}
        info = DatasetInfo(
            kind="generated",
            classes=CLASSES,
            counts=counts,
            digest=digest_of(entries),
            symmetries="square",
            profile=order.profile,
            seed=order.seed,
            corrupted=sum(piece.label != piece.truth for piece in pieces),
        )
        (work / INFO_FILE).write_bytes(info.to_json())
    return info


def _drawn(order: Order, pieces: tuple[Piece, ...], work: Path, workers: int) -> Iterator[list[tuple[str, str]]]:
    chunks = [pieces[start : start + _CHUNK] for start in range(0, len(pieces), _CHUNK)]
    if workers <= 1:
        for chunk in chunks:
            yield _draw_chunk(order, chunk, work)
        return
    with ProcessPoolExecutor(max_workers=workers) as pool:
        yield from pool.map(_draw_chunk, [order] * len(chunks), chunks, [work] * len(chunks))


def _draw_chunk(order: Order, pieces: tuple[Piece, ...], work: Path) -> list[tuple[str, str]]:
    entries = []
    for piece in pieces:
        name, data = draw(order, piece)
        (work / name).write_bytes(data)
        entries.append((name, sha256_of(data)))
    return entries
