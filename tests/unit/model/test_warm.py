"""A network that begins as another: the same answers at first, new classes beside the old ones."""

from dataclasses import replace
from pathlib import Path

import torch

from puzzlenet.config import Architecture, read_config
from puzzlenet.dataset import open_dataset
from puzzlenet.fit import TrainConfig
from puzzlenet.network import PuzzleNet
from puzzlenet.train import train
from puzzlenet.warm import begin_as
from puzzlenet.weights import load_network

TINY = TrainConfig(epochs=1, width=8, image_size=32, learning_rate=1e-9, weight_decay=0.0)


def test_it_answers_as_the_old_one_and_has_room_for_new_classes(run: Path) -> None:
    old = read_config(run / "config.json")
    model = old.model_copy(update={"classes": ("new", *reversed(old.classes)), "mean": (0.1, 0.1, 0.1)})
    network = PuzzleNet(model.architecture, len(model.classes))
    begun = begin_as(network, model, run)
    assert begun is not None and begun.mean == old.mean and begun.classes == model.classes
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = load_network(run, old)(x), network.eval()(x)
    assert torch.allclose(after[:, 1:].flip(1), before, atol=1e-5)


def test_a_network_of_another_shape_begins_anew(run: Path) -> None:
    model = read_config(run / "config.json").model_copy(update={"architecture": Architecture(width=12)})
    assert begin_as(PuzzleNet(model.architecture, len(model.classes)), model, run) is None


def test_training_begins_where_it_is_told_to(run: Path, pieces: Path, tmp_path: Path) -> None:
    train(open_dataset(pieces), tmp_path / "warm", TINY, start=run)
    train(open_dataset(pieces), tmp_path / "cold", replace(TINY, seed=5))
    config = read_config(run / "config.json")
    old, warm, cold = (
        load_network(folder, config).head.weight for folder in (run, tmp_path / "warm", tmp_path / "cold")
    )
    assert torch.allclose(old, warm, atol=1e-4) and not torch.allclose(old, cold, atol=1e-2)
