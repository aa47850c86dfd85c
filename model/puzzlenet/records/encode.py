"""From what was seen to JSON: image statistics, the record's text, and the JPEG of a sampled picture.

Everything but `dimensions` runs in the background thread. Statistics are of the pixels that the network was given:
they are decoded already, and a fault that does not show there cannot mislead the network.
"""

import io
import math
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image, ImageOps

from puzzlenet.images import sniff, to_rgb
from puzzlenet.records.settings import Origin

MAX_JPEG = 2 * 1024 * 1024  # what the monitor takes
_MAX_SIDE = 1024
_MAX_PIXELS_OF_A_SIDE = 100_000
_NO_FRAME = {0xC4, 0xC8, 0xCC}  # JPEG markers among the frame headers that are none: DHT, JPG, DAC


@dataclass(frozen=True, slots=True)
class Seen:
    """One prediction as the answering thread leaves it: nothing computed, nothing copied."""

    id: str
    at: float
    label: str
    probabilities: tuple[float, ...]
    picture_bytes: int
    format: str
    size: tuple[int, int]
    pixels: NDArray[np.uint8]
    embedding: NDArray[np.float32]
    picture: bytes | None = None

    @property
    def held(self) -> int:
        """Bytes of memory that count: now, or as JSON, which is never longer than this."""
        text = 2_048 + 100 * len(self.probabilities) + 16 * len(self.embedding)
        return max(self.pixels.nbytes, text) + (len(self.picture) if self.picture else 0)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record ready to be sent. ``since`` is when it became so, on the monotonic clock."""

    id: str
    since: float
    json: bytes
    picture: bytes | None

    @property
    def held(self) -> int:
        """Bytes of memory that count."""
        return len(self.json) + (len(self.picture) if self.picture else 0)


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height from the header of a PNG or JPEG, in microseconds; both formats put them near the beginning."""
    if sniff(data) == "png":
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        # 0xFF before a marker is padding.
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return Image.open(io.BytesIO(data)).size


class Encoder:
    """Writes records with the names of one server and the classes of one model."""

    def __init__(self, origin: Origin, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._origin = asdict(origin)

    def encode(self, seen: Sequence[Seen], now: float) -> list[Encoded | None]:
        """Records of pictures of one size; None for one that has no meaning in JSON, as of a network that gives NaN."""
        stats = image_stats(np.stack([one.pixels for one in seen]))
        return [self._one(one, values, now) for one, values in zip(seen, stats.tolist(), strict=True)]

    def _one(self, seen: Seen, stats: list[float], now: float) -> Encoded | None:
        brightness, blur, *colour = stats
        width, height = seen.size
        if not (1 <= width <= _MAX_PIXELS_OF_A_SIDE and 1 <= height <= _MAX_PIXELS_OF_A_SIDE):
            return None
        # JSON has no such numbers, and orjson would write null.
        if not (all(map(math.isfinite, seen.probabilities)) and np.isfinite(seen.embedding).all()):
            return None
        image = {"format": seen.format, "width": width, "height": height, "bytes": seen.picture_bytes}
        fields = {
            **self._origin,
            "id": seen.id,
            "at": datetime.fromtimestamp(seen.at, UTC).isoformat(timespec="microseconds"),
            "label": seen.label,
            "probabilities": dict(zip(self._classes, seen.probabilities, strict=True)),
            "confidence": max(seen.probabilities),
            "image": {**image, "brightness": brightness, "blur": blur, "colour": colour},
            # As an array: of a float32 so many digits are written as tell it, of a double there would be twice as many.
            "embedding": np.ascontiguousarray(seen.embedding),
        }
        return Encoded(seen.id, now, orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY), seen.picture)


def image_stats(pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Brightness, blur, red, green and blue of each picture: shape (n, 5).

    Brightness (luminance) and colour are means in 0…1. Blur is the variance of the Laplacian
    (Pech-Pacheco et al. 2000), of luminance in 0…255: it falls when a picture loses its edges.
    """
    # Plane by plane, and no matrix product: that would wake BLAS's own threads, next to those of the network.
    planes_CNHW = np.ascontiguousarray(pixels_NHWC.transpose(3, 0, 1, 2)).astype(np.float32)
    colour_CN = planes_CNHW.reshape(*planes_CNHW.shape[:2], -1).mean(axis=2) / 255.0
    luma_NHW = _luma(*planes_CNHW)
    around = luma_NHW[:, :-2, 1:-1] + luma_NHW[:, 2:, 1:-1] + luma_NHW[:, 1:-1, :-2] + luma_NHW[:, 1:-1, 2:]
    blur = (around - 4.0 * luma_NHW[:, 1:-1, 1:-1]).var(axis=(1, 2))
    means = [_luma(*colour_CN), blur, *colour_CN]
    stats: NDArray[np.float64] = np.stack(means, axis=1).astype(np.float64).round(5)
    stats[:, [0, 2, 3, 4]] = stats[:, [0, 2, 3, 4]].clip(0.0, 1.0)
    return stats


def _luma(red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luminance, after ITU-R BT.601."""
    luminance: NDArray[np.float32] = 0.299 * red + 0.587 * green + 0.114 * blue
    return luminance


def as_jpeg(picture: bytes) -> bytes:
    """The camera's own bytes where they are a JPEG that the monitor takes; else one made of them, at most 1,024 px."""
    if sniff(picture) == "jpeg" and len(picture) <= MAX_JPEG:
        return picture
    with Image.open(io.BytesIO(picture)) as image:
        upright = ImageOps.exif_transpose(image) or image
        small = to_rgb(upright)
    small.thumbnail((_MAX_SIDE, _MAX_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=90)
    return out.getvalue()
