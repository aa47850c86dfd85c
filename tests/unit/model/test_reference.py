"""The drift reference of a version: what the server would record and answer for the held-out pieces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, load_file

from puzzlenet.config import read_config
from puzzlenet.dataset import open_dataset
from puzzlenet.errors import BadVersionError
from puzzlenet.package import package
from puzzlenet.records.observed import ObservedPredictor
from puzzlenet.reference import HELD_OUT, LIMIT, REFERENCE, write_reference
from puzzlenet.weights import load_network


def test_it_holds_what_the_server_would_record(version: Path, run: Path) -> None:
    reference = load_file(version / REFERENCE)
    held_out = load_file(run / HELD_OUT)
    server = ObservedPredictor.load(version, torch.device("cpu"))
    assert isinstance(server, ObservedPredictor)
    probabilities = server.probabilities(held_out["pixels"])
    assert reference["embeddings"].dtype == np.float32 and reference["embeddings"].shape == (
        len(held_out["labels"]),
        64,
    )
    assert np.allclose(reference["embeddings"], server.embeddings, atol=1e-5)
    assert np.allclose(reference["probabilities"], probabilities, atol=1e-5)
    assert (reference["correct"] == (probabilities.argmax(1) == held_out["labels"])).all()


def test_the_pieces_are_the_held_out_ones(run: Path, pieces: Path) -> None:
    dataset = open_dataset(pieces)
    pixels = {image.tobytes() for image in dataset.pixels(32)}
    held_out = load_file(run / HELD_OUT)
    assert {image.tobytes() for image in held_out["pixels"]} <= pixels
    assert len(held_out["labels"]) < 0.2 * len(pixels)


def test_more_views_change_the_probabilities_and_not_the_embeddings(run: Path, version: Path, tmp_path: Path) -> None:
    package(run, tmp_path / "slow", views=8)
    one, eight = load_file(version / REFERENCE), load_file(tmp_path / "slow" / REFERENCE)
    assert np.allclose(one["embeddings"], eight["embeddings"], atol=1e-5)
    assert not np.allclose(one["probabilities"], eight["probabilities"], rtol=0.0, atol=1e-5)


def test_it_is_bounded_and_drawn_the_same_each_time(run: Path, tmp_path: Path) -> None:
    config = read_config(run / "config.json")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (LIMIT + 50, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, len(config.classes), LIMIT + 50)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_reference(tmp_path / name, load_network(run, config), config, pixels, labels)
    data = (tmp_path / "a" / REFERENCE).read_bytes()
    assert data == (tmp_path / "b" / REFERENCE).read_bytes()
    assert len(load(data)["embeddings"]) == LIMIT


def test_a_run_without_one_is_named(run: Path, tmp_path: Path) -> None:
    for path in run.iterdir():
        if path.name != REFERENCE:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BadVersionError, match=r"reference\.safetensors is missing"):
        package(tmp_path, tmp_path / "out")
