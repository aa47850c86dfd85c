"""A predictor that keeps what it has seen of the last request, so that a record needs no second decoding or pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from puzzlenet.config import ModelConfig
from puzzlenet.network import PuzzleNet
from puzzlenet.predictor import Prediction, Predictor


class ObservedPredictor(Predictor):
    """Answers as a `Predictor` does. ``pixels`` (n, size, size, 3) and ``embeddings`` (n, E) are of the last request.

    The embedding is what the last layer sees of the picture as it is (view 0), before the average over views.
    """

    def __init__(self, network: PuzzleNet, config: ModelConfig, device: torch.device) -> None:
        super().__init__(network, config, device)
        self._parts: list[tuple[NDArray[np.uint8], NDArray[np.float32]]] = []
        self._features: Tensor | None = None
        self._network.head.register_forward_pre_hook(self._keep)

    def predict(self, pictures: Sequence[bytes], names: Sequence[str] | None = None) -> list[Prediction]:
        """Answer, and keep what was seen until the next call."""
        self._parts.clear()
        return super().predict(pictures, names)

    def look(self, pixels_NHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embeddings (n, E) and calibrated probabilities (n, k) of decoded pictures."""
        self._parts.clear()
        probabilities = self.probabilities(pixels_NHWC)
        return self.embeddings, probabilities

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The decoded pictures, as the network was given them."""
        return _joined([pixels for pixels, _ in self._parts])

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """The penultimate features."""
        return _joined([features for _, features in self._parts])

    def _batch(self, pixels_BHWC: Tensor) -> NDArray[np.float64]:
        self._features = None
        probabilities = super()._batch(pixels_BHWC)
        if self._features is not None:
            self._parts.append((pixels_BHWC.numpy(), self._features.cpu().numpy()))
        return probabilities

    def _keep(self, _head: nn.Module, given: tuple[Any, ...]) -> None:
        if self._features is None:
            self._features = given[0]


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
