"""Weights on disk: safetensors only, so that opening a model never runs code."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from puzzlenet.config import ModelConfig
from puzzlenet.errors import BadVersionError
from puzzlenet.network import PuzzleNet


def save_weights(network: nn.Module, path: Path) -> None:
    """Write every tensor of a network. The same tensors give the same bytes."""
    state = {name: value.detach().cpu().contiguous() for name, value in sorted(network.state_dict().items())}
    path.write_bytes(save(state))


def load_network(folder: Path, config: ModelConfig) -> PuzzleNet:
    """The network of a run or version folder, in evaluation mode.

    Raises BadVersionError when the weights are missing or do not fit the configuration.
    """
    path = folder / "model.safetensors"
    network = PuzzleNet(config.architecture, len(config.classes))
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError as exc:
        raise BadVersionError(f"{path} is missing: {folder} is not a trained model or a packaged version") from exc
    except (SafetensorError, RuntimeError, OSError) as exc:
        raise BadVersionError(f"{path} does not hold the weights that config.json describes: {exc}") from exc
    return network.eval()
