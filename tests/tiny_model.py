"""Fixtures of a tiny data set, a run and a version, for every folder of tests that needs real files of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from puzzlenet.dataset import open_dataset
from puzzlenet.fit import TrainConfig
from puzzlenet.generate import Order, generate
from puzzlenet.package import package
from puzzlenet.train import train


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rendered pieces of line-1."""
    folder = tmp_path_factory.mktemp("data") / "pieces"
    generate(Order(profile="line-1", count=120, seed=5), folder)
    return folder


@pytest.fixture(scope="session")
def run(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained for two epochs: its answers are poor, its files are real."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(open_dataset(pieces), folder, TrainConfig(epochs=2, width=8, image_size=32))
    return folder


@pytest.fixture(scope="session")
def version(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged run."""
    folder = tmp_path_factory.mktemp("versions") / "version"
    package(run, folder)
    return folder
