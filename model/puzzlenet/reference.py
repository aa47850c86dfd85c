"""What a version looked like at home: the reference that drift is measured against.

Of the pieces that training held out, at most a thousand: the embeddings as the server records them, the
probabilities as it answers them, and whether the answer was right. It is part of the version and so of its digest.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from puzzlenet.config import ModelConfig
from puzzlenet.errors import BadVersionError
from puzzlenet.network import PuzzleNet
from puzzlenet.records.observed import ObservedPredictor
from puzzlenet.weights import load_network

REFERENCE = "reference.safetensors"
HELD_OUT = "held-out.safetensors"
LIMIT = 1000


def write_reference(
    folder: Path, network: PuzzleNet, config: ModelConfig, pixels: NDArray[np.uint8], labels: NDArray[np.int64]
) -> None:
    """Write the reference into a run folder, and the held-out pictures beside it: packaging may add views to a model.

    ``pixels`` (n, size, size, 3) and ``labels`` (n,) are what training held out. Of more than a thousand a
    fixed random draw is taken, the same for the same number.
    """
    keep = np.sort(np.random.default_rng(0).permutation(len(labels))[:LIMIT])
    pixels, labels = np.ascontiguousarray(pixels[keep]), labels[keep]
    (folder / HELD_OUT).write_bytes(save({"labels": labels.astype(np.int64), "pixels": pixels}))
    # Another network object: folding the norms, as serving does, would change the one that is still trained.
    copy = PuzzleNet(config.architecture, len(config.classes))
    copy.load_state_dict({name: value.detach().cpu() for name, value in network.state_dict().items()})
    (folder / REFERENCE).write_bytes(reference_of(copy, config, pixels, labels))


def reference_for(run: Path, config: ModelConfig) -> bytes:
    """The reference of a run as packaged. With one view it is the run's own, and so the same on any machine.

    Raises BadVersionError for a run without one.
    """
    try:
        if config.serving.views == 1:
            return (run / REFERENCE).read_bytes()
        held_out = load((run / HELD_OUT).read_bytes())
    except OSError as exc:
        raise BadVersionError(f"{exc.filename} is missing: the run is of an older puzzlenet; train again") from exc
    except SafetensorError as exc:
        raise BadVersionError(f"{run / HELD_OUT} is damaged: {exc}") from exc
    return reference_of(load_network(run, config), config, held_out["pixels"], held_out["labels"])


def reference_of(
    network: PuzzleNet, config: ModelConfig, pixels: NDArray[np.uint8], labels: NDArray[np.int64]
) -> bytes:
    """``reference.safetensors`` of a network on labelled pictures."""
    predictor = ObservedPredictor(network.eval(), config, torch.device("cpu"))
    embeddings, probabilities = predictor.look(pixels)
    return save(
        {
            "correct": (probabilities.argmax(axis=1) == labels).astype(np.uint8),
            "embeddings": np.ascontiguousarray(embeddings, dtype=np.float32),
            "probabilities": probabilities.astype(np.float32),
        },
        metadata={"classes": ",".join(config.classes)},
    )
