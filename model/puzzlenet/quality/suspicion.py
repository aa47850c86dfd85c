"""The champion and the neighbours, asked about the labels of real pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from puzzlenet.images import read_image
from puzzlenet.quality.measure import Facts
from puzzlenet.quality.noise import Evidence, Opinion, opinions
from puzzlenet.records.observed import ObservedPredictor
from puzzlenet.reference import REFERENCE


def suspicion(folder: Path, predictor: ObservedPredictor, facts: Sequence[Facts]) -> tuple[Opinion, ...]:
    """What the champion and the neighbours think of the labels of pictures that can be decoded."""
    whole = [one for one in facts if one.error is None]
    reference = folder / REFERENCE
    if not whole or not reference.is_file():
        return ()
    config = predictor.config
    pixels = np.stack([read_image(one.sample.data, config.image_size) for one in whole])
    embeddings, probabilities = predictor.look(pixels)
    index = {name: number for number, name in enumerate(config.classes)}
    return opinions(
        Evidence(
            embeddings=embeddings.astype(np.float64),
            probabilities=probabilities,
            labels=np.array([index.get(one.sample.label, -1) for one in whole], dtype=np.int64),
            reference=load_file(reference)["embeddings"].astype(np.float64),
        )
    )
