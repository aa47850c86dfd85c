"""Small data and one tiny trained run, made once for all tests of the model."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.tiny_model import pieces, run, version  # noqa: F401 - fixtures

Picture = Callable[..., bytes]


@pytest.fixture(scope="session")
def picture() -> Picture:
    """Makes the bytes of a picture of any mode, size and format."""

    def make(mode: str = "RGB", size: tuple[int, int] = (40, 30), format: str = "PNG", **options: object) -> bytes:
        noise = np.random.default_rng(0).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(out, format, **options)
        return out.getvalue()

    return make
