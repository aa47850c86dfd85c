"""From the process that answers to the one that sends: settings first, then a frame for each record.

A frame is four lengths (unsigned, 32 bits, big-endian) and what they measure: the small fields as JSON, pixels,
embedding, and the picture or nothing. Four zeros ask for hurry. Nothing is unpickled.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from puzzlenet.records.encode import Seen
from puzzlenet.records.settings import Origin, RecordSettings

_LENGTHS = struct.Struct("!4I")
HURRY = _LENGTHS.pack(0, 0, 0, 0)
_json = json.JSONEncoder(separators=(",", ":")).encode


def opening(settings: RecordSettings, classes: Sequence[str]) -> bytes:
    """The first line. It names the token's file and not the token."""
    file = settings.token_file and str(settings.token_file)
    return _json({"settings": {**asdict(settings), "token_file": file}, "classes": list(classes)}).encode() + b"\n"


def read_opening(stream: BinaryIO) -> tuple[RecordSettings, tuple[str, ...]]:
    """The inverse of `opening`."""
    found = json.loads(stream.readline())
    fields = found["settings"]
    origin, file = Origin(**fields.pop("origin")), fields.pop("token_file")
    return RecordSettings(**fields, origin=origin, token_file=file and Path(file)), tuple(found["classes"])


def frame(seen: Seen) -> tuple[bytes, bytes]:
    """A record as the two parts of a frame: everything but the picture, which may be large, and the picture."""
    small = (seen.id, seen.at, seen.label, seen.probabilities, seen.picture_bytes, seen.format, seen.size)
    meta = _json((*small, seen.pixels.shape)).encode()
    pixels, embedding, picture = seen.pixels.tobytes(), seen.embedding.tobytes(), seen.picture or b""
    lengths = _LENGTHS.pack(len(meta), len(pixels), len(embedding), len(picture))
    return lengths + meta + pixels + embedding, picture


def frames(stream: BinaryIO) -> Iterator[Seen | None]:
    """Records until the stream ends, whole ones only; None where hurry is asked for."""
    while True:
        lengths = _LENGTHS.unpack(header) if len(header := stream.read(_LENGTHS.size)) == _LENGTHS.size else None
        if lengths is None:
            return
        if not any(lengths):
            yield None
            continue
        parts = [stream.read(length) for length in lengths]
        if [len(part) for part in parts] != list(lengths):
            return
        yield _seen(*parts)


def _seen(meta: bytes, pixels: bytes, embedding: bytes, picture: bytes) -> Seen:
    name, at, label, probabilities, picture_bytes, kind, size, shape = json.loads(meta)
    return Seen(
        id=name,
        at=at,
        label=label,
        probabilities=tuple(probabilities),
        picture_bytes=picture_bytes,
        format=kind,
        size=tuple(size),
        pixels=np.frombuffer(pixels, np.uint8).reshape(shape),
        embedding=np.frombuffer(embedding, np.float32),
        picture=picture or None,
    )
