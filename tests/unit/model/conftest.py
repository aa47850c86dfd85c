"""Small data and one tiny trained run, made once for all tests of the model."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from puzzlenet.cli import main
from tests.tiny_model import pieces, run, version  # noqa: F401 - fixtures

Picture = Callable[..., bytes]


@dataclass(frozen=True)
class Done:
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def puzzlenet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process: starting a new one for each case would cost a minute."""

    def call(*words: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["puzzlenet", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def picture() -> Picture:
    """Makes the bytes of a picture of any mode, size and format."""

    def make(mode: str = "RGB", size: tuple[int, int] = (40, 30), format: str = "PNG", **options: object) -> bytes:
        noise = np.random.default_rng(0).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(out, format, **options)
        return out.getvalue()

    return make
