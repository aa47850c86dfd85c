"""A trained model that answers: bytes of pictures in, labels and probabilities out.

The server, the evaluation and batch scoring all call this, so that they cannot disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from puzzlenet.config import ModelConfig, read_config
from puzzlenet.images import read_image
from puzzlenet.network import PuzzleNet, normalise, on_device
from puzzlenet.weights import load_network


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. ``probabilities`` follow the order of the model's classes and sum to 1."""

    label: str
    probabilities: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """The top probability."""
        return max(self.probabilities)


class Predictor:
    """A network ready for inference: batch norms folded, channels-last, temperature and views applied."""

    def __init__(self, network: PuzzleNet, config: ModelConfig, device: torch.device) -> None:
        self.config = config
        self._device = device
        self._network = on_device(network.fold(), device)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """From a run or version folder. Raises BadVersionError when it is neither."""
        config = read_config(folder / "config.json")
        return cls(load_network(folder, config), config, device or torch.device("cpu"))

    def predict(self, pictures: Sequence[bytes], names: Sequence[str] | None = None) -> list[Prediction]:
        """Answer for a batch of PNG or JPEG files. Raises BadImageError naming the first one that is refused."""
        names = names or [f"image {index}" for index in range(len(pictures))]
        pixels = [self.decode(data, name) for data, name in zip(pictures, names, strict=True)]
        return self.answer(np.stack(pixels)) if pixels else []

    def decode(self, picture: bytes, name: str = "the image") -> NDArray[np.uint8]:
        """One PNG or JPEG as the network is given it, (size, size, 3). Raises BadImageError calling it ``name``."""
        return read_image(picture, self.config.image_size, accept=self.config.serving.accept, name=name)

    def answer(self, pixels_NHWC: NDArray[np.uint8]) -> list[Prediction]:
        """Answer for decoded pictures of shape (n, size, size, 3)."""
        return [
            Prediction(self.config.classes[int(row.argmax())], tuple(round(float(p), 6) for p in row))
            for row in self.probabilities(pixels_NHWC)
        ]

    def probabilities(self, pixels_NHWC: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float64]:
        """Calibrated probabilities of shape (n, k) for decoded pictures of shape (n, size, size, 3)."""
        if not len(pixels_NHWC):
            return np.zeros((0, len(self.config.classes)))
        parts = [self._batch(torch.from_numpy(part)) for part in _chunks(pixels_NHWC, batch)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _batch(self, pixels_BHWC: Tensor) -> NDArray[np.float64]:
        x_BCHW = normalise(pixels_BHWC.to(self._device), self.config.mean, self.config.std)
        views = self.config.serving.views
        total = torch.zeros(len(x_BCHW), len(self.config.classes), dtype=torch.float64, device=self._device)
        for view in range(views):
            logits = self._network(seen_as(x_BCHW, view, self.config.symmetries)).double()
            total += torch.softmax(logits / self.config.temperature, dim=1)
        mean: NDArray[np.float64] = (total / views).cpu().numpy()
        return mean


def seen_as(x_BCHW: Tensor, view: int, symmetries: str) -> Tensor:
    """The ``view``-th way to look at pictures of shape (B, 3, H, W): flips, quarter turns, then small moves.

    View 0 is the picture itself. Moves go round a growing square, one pixel further for each ring.
    """
    turns = 8 if symmetries == "square" else 1
    move, turn = divmod(view, turns)
    if turn >= 4:
        x_BCHW = x_BCHW.flip(3)
    if turn % 4:
        x_BCHW = torch.rot90(x_BCHW, turn % 4, dims=(2, 3))
    if move:
        ring = 1 + (move - 1) // 8
        down, right = _RING[(move - 1) % 8]
        x_BCHW = torch.roll(x_BCHW, (down * ring, right * ring), dims=(2, 3))
    return x_BCHW.contiguous(memory_format=torch.channels_last)


_RING = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1))


def _chunks(pixels: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    return [pixels[start : start + size] for start in range(0, len(pixels), size)]
