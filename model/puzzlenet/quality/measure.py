"""What is measured of one picture: no judgement here."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from puzzlenet.errors import BadImageError
from puzzlenet.files import sha256_of
from puzzlenet.images import open_image, sniff, to_rgb

_HASH = 16  # a difference hash of 16 × 16 bits: 8 × 8 take pieces on an even belt for one another
_SMALL = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A labelled picture as it arrived. ``late_s`` is how long after it was taken, None where nobody knows."""

    data: bytes
    label: str
    source: str
    late_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """One picture. Brightness and colours are 0…1; ``hash`` is 256 bits; ``error`` says why it cannot be decoded."""

    sample: Sample
    image: str
    kind: str
    width: int = 0
    height: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hash: bytes = b""
    error: str | None = None


def measure(sample: Sample) -> Facts:
    """Decode and measure; a damaged picture is a fact and not an exception."""
    image, kind = sha256_of(sample.data), sniff(sample.data)
    try:
        rgb = to_rgb(open_image(sample.data, name=sample.source))
    except BadImageError as exc:
        return Facts(sample=sample, image=image, kind=kind, error=str(exc))
    small = np.asarray(rgb.resize((_SMALL, _SMALL), Image.Resampling.BOX), dtype=np.float64) / 255.0
    mean = small.mean(axis=(0, 1))
    grey = rgb.convert("L").resize((_HASH + 1, _HASH), Image.Resampling.BILINEAR)
    levels = np.asarray(grey, dtype=np.int16)
    return Facts(
        sample=sample,
        image=image,
        kind=kind,
        width=rgb.width,
        height=rgb.height,
        brightness=round(float(small.mean()), 4),
        contrast=round(float(small.mean(axis=2).std()), 4),
        colour=(round(float(mean[0]), 4), round(float(mean[1]), 4), round(float(mean[2]), 4)),
        hash=np.packbits(levels[:, 1:] > levels[:, :-1]).tobytes(),
    )


def near_duplicates(hashes: Sequence[bytes], distance: int) -> NDArray[np.bool_]:
    """Which pictures have an earlier one within ``distance`` bits."""
    found = np.zeros(len(hashes), dtype=bool)
    if len(hashes) < 2:
        return found
    bits = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(hashes), -1)
    spread = np.unpackbits(bits, axis=1).astype(np.float32) * 2.0 - 1.0
    length = spread.shape[1]
    for start in range(0, len(hashes), 512):
        part = spread[start : start + 512]
        far = (length - part @ spread.T) / 2.0
        earlier = np.arange(len(hashes))[None, :] < np.arange(start, start + len(part))[:, None]
        found[start : start + len(part)] = ((far <= distance) & earlier).any(axis=1)
    return found


def thumbnail(data: bytes, size: int = 96) -> bytes | None:
    """A small JPEG for a report, None for a picture that cannot be decoded."""
    try:
        image = to_rgb(open_image(data))
    except BadImageError:
        return None
    image.thumbnail((size, size))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=75)
    return out.getvalue()
