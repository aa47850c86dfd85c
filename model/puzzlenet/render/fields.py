"""Small image operations that the renderer is made of.

Pictures are float32 arrays of shape (H, W) or (H, W, 3) with values in 0…1.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Field = NDArray[np.float32]
SIZE = 128  # side of a rendered picture in pixels
_OVER = 2  # shapes are drawn this much larger and averaged down: smooth edges


def smooth_noise(rng: np.random.Generator, cells: int) -> Field:
    """A smooth random field in about 0…1 with ``cells`` features across, shape (SIZE, SIZE)."""
    coarse = Image.fromarray(rng.random((cells + 2, cells + 2), dtype=np.float32))
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32)


def polygon(points: NDArray[np.float64]) -> Field:
    """Coverage of a filled polygon given in pixels, shape (SIZE, SIZE)."""
    canvas = Image.new("L", (SIZE * _OVER, SIZE * _OVER))
    ImageDraw.Draw(canvas).polygon([(x * _OVER, y * _OVER) for x, y in points.tolist()], fill=255)
    return _down(canvas)


def stroke(points: NDArray[np.float64], width: float) -> Field:
    """Coverage of a line through points given in pixels, ``width`` pixels wide, shape (SIZE, SIZE)."""
    canvas = Image.new("L", (SIZE * _OVER, SIZE * _OVER))
    flat = [(x * _OVER, y * _OVER) for x, y in points.tolist()]
    ImageDraw.Draw(canvas).line(flat, fill=255, width=max(1, round(width * _OVER)), joint="curve")
    return _down(canvas)


def blur(field: Field, radius: float) -> Field:
    """Gaussian blur of a field in 0…1 (8-bit inside: a shadow or a bevel needs no more)."""
    picture = Image.fromarray(to_bytes(field))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) * np.float32(1 / 255)


def bezier(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], steps: int = 12
) -> NDArray[np.float64]:
    """A quadratic Bézier curve from ``a`` to ``c`` drawn towards ``b``, shape (steps, 2)."""
    t = np.linspace(0.0, 1.0, steps)[:, None]
    curve: NDArray[np.float64] = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    return curve


def mix(under: Field, over: Field, alpha: Field) -> Field:
    """``over`` laid on ``under`` (both (H, W, 3), or ``over`` one colour of shape (3,)) with coverage (H, W)."""
    return under + (over - under) * alpha[..., None]


def to_bytes(field: Field) -> NDArray[np.uint8]:
    """0…1 to 0…255, rounded and clipped."""
    return np.clip(field * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)


def _down(canvas: Image.Image) -> Field:
    small = canvas.resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) * np.float32(1 / 255)
