"""Decoding: every picture of a camera is read, everything else is refused in one sentence with a status."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from puzzlenet.errors import BadImageError
from puzzlenet.images import MAX_BYTES, read_image, sniff

Picture = Callable[..., bytes]


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1"])
def test_every_mode_of_png_is_read_as_rgb(picture: Picture, mode: str) -> None:
    assert read_image(picture(mode=mode), 16).shape == (16, 16, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    out = io.BytesIO()
    Image.fromarray(np.full((20, 20), 32768, dtype=np.uint16)).save(out, "PNG")
    assert abs(int(read_image(out.getvalue(), 16)[8, 8, 0]) - 128) <= 1


def test_a_picture_that_the_camera_turned_is_read_upright() -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:20] = 255
    exif = Image.new("RGB", (1, 1)).getexif()
    exif[0x0112] = 3  # the camera was upside down
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", exif=exif, quality=95)
    upright = read_image(out.getvalue(), 16)
    assert upright[2].mean() < 30 and upright[13].mean() > 220


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_never_anything_but_a_bad_image(data: bytes) -> None:
    with pytest.raises(BadImageError) as refused:
        read_image(data, 16)
    assert 400 <= refused.value.status < 500 and "\n" not in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255), st.sampled_from(["PNG", "JPEG"]))
def test_a_damaged_file_is_read_or_refused_but_never_crashes(position: int, value: int, format: str) -> None:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(out, format)
    data = bytearray(out.getvalue())
    data[position % len(data)] = value
    try:
        assert read_image(bytes(data[: len(data) - position % 7]), 16).shape == (16, 16, 3)
    except BadImageError as refused:
        assert 400 <= refused.status < 500


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    with pytest.raises(BadImageError) as refused:
        read_image(bomb, 16)
    assert refused.value.status in (400, 413) and len(bomb) < 200


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(BadImageError, match="bytes") as refused:
        read_image(b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES), 16)
    assert refused.value.status == 413


def test_a_format_that_is_not_accepted_is_told_which_is(picture: Picture) -> None:
    with pytest.raises(BadImageError, match="is a JPEG; this version accepts PNG only") as refused:
        read_image(picture(format="JPEG"), 16, accept=("png",))
    assert refused.value.status == 415


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_refused_even_though_pillow_knows_them(picture: Picture, format: str) -> None:
    data = picture(format=format)
    assert sniff(data) == "unknown"
    with pytest.raises(BadImageError, match="neither PNG nor JPEG"):
        read_image(data, 16)
