"""From the bytes of a picture to the pixels that the network sees: one way, for training, evaluation and serving.

Pictures come from cameras and from strangers, so the size is checked before anything is decoded (a decompression
bomb is small as a file), only PNG and JPEG are opened, and every refusal is one sentence.
"""

import io
import warnings
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from puzzlenet.errors import BadImageError

MAX_BYTES = 4 * 1024 * 1024
MAX_PIXELS = 16_000_000
FORMATS = ("png", "jpeg")


def read_image(
    data: bytes, size: int, *, accept: Collection[str] = FORMATS, name: str = "the image"
) -> NDArray[np.uint8]:
    """Decode one PNG or JPEG to RGB, upright and ``size`` × ``size`` pixels: uint8 of shape (size, size, 3).

    Raises BadImageError (415 for a format that is not accepted, 413 for too large, 400 for unreadable).
    """
    upright = open_image(data, accept=accept, name=name)
    square = to_rgb(upright).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square, dtype=np.uint8)


def open_image(data: bytes, *, accept: Collection[str] = FORMATS, name: str = "the image") -> Image.Image:
    """Decode one PNG or JPEG, upright and in its own size. Raises BadImageError as ``read_image`` does."""
    if len(data) > MAX_BYTES:
        raise BadImageError(f"{name} has {len(data)} bytes; at most {MAX_BYTES} are accepted", status=413)
    image = _open(data, accept, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the pixels are what counts
            image.load()
            upright = ImageOps.exif_transpose(image) or image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        raise BadImageError(f"{name} is damaged and cannot be decoded: {exc}") from exc
    return upright


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB; 16-bit greys are scaled, which Pillow's own conversion would clip."""
    if image.mode.startswith("I"):
        wide = np.asarray(image, dtype=np.float32)
        return Image.fromarray((wide / 257.0).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def sniff(data: bytes) -> str:
    """The format that the first bytes announce: ``png``, ``jpeg`` or ``unknown``."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    return "jpeg" if data[:3] == b"\xff\xd8\xff" else "unknown"


def _open(data: bytes, accept: Collection[str], name: str) -> Image.Image:
    kind = sniff(data)
    if kind == "unknown":
        raise BadImageError(f"{name} is neither PNG nor JPEG: send the file as the camera wrote it", status=415)
    if kind not in accept:
        wanted = " or ".join(sorted(accept)).upper()
        raise BadImageError(f"{name} is a {kind.upper()}; this version accepts {wanted} only", status=415)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=(kind.upper(),))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        raise BadImageError(f"{name} is damaged and cannot be opened as {kind.upper()}") from exc
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImageError(f"{name} is {width} × {height} pixels; at most {MAX_PIXELS} are accepted", status=413)
    return image
