"""Augmentation on the device that trains, in plain torch: no loader, no copies back to the CPU.

Symmetries that keep a label come from the data set (a piece may be flipped, a digit may not). Light and camera
vary only mildly on purpose: a model that should not care about the line at all would need pictures of it. Chance
is drawn for a whole batch and then applied to any part of it, so that several workers see what one would.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from puzzlenet.dataset import Symmetries

_SHIFT = 2  # largest move in 1/64 of the picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """What happens to each picture of a batch. ``coin`` (3, B, 1): upside down, mirrored, turned; None: neither."""

    coin: Tensor | None
    shift: Tensor  # (2, B, 1) pixels down and right
    gain: Tensor  # (B, 1, 1, 1)
    lift: Tensor  # (B, 3, 1, 1)

    def of(self, part: slice) -> "Chance":
        """That of some of the pictures."""
        coin = None if self.coin is None else self.coin[:, part]
        return Chance(coin=coin, shift=self.shift[:, part], gain=self.gain[part], lift=self.lift[part])


def draw(batch: int, height: int, symmetries: Symmetries, rng: torch.Generator, light: float = 0.12) -> Chance:
    """Chance for a batch of pictures of this height, on the device of the generator."""
    device = rng.device
    coin = None
    if symmetries == "square":
        coin = torch.randint(2, (3, batch, 1), generator=rng, device=device).bool()
    reach = max(1, _SHIFT * height // 64)
    shift = torch.randint(-reach, reach + 1, (2, batch, 1), generator=rng, device=device)
    gain = 1.0 + _spread((batch, 1, 1, 1), light, rng)
    return Chance(coin=coin, shift=shift, gain=gain, lift=_spread((batch, 3, 1, 1), light, rng))


def apply(x_BCHW: Tensor, chance: Chance) -> Tensor:
    """Move, turn and relight normalised pictures of shape (B, 3, H, W); a fresh tensor, channels-last."""
    x_BCHW = _move(x_BCHW, chance)
    return (x_BCHW * chance.gain + chance.lift).contiguous(memory_format=torch.channels_last)


def augment(x_BCHW: Tensor, symmetries: Symmetries, rng: torch.Generator, light: float = 0.12) -> Tensor:
    """Draw and apply at once."""
    return apply(x_BCHW, draw(x_BCHW.shape[0], x_BCHW.shape[2], symmetries, rng, light))


def _move(x_BCHW: Tensor, chance: Chance) -> Tensor:
    """Whole-pixel moves, flips and quarter turns only: interpolation would rub out the thinnest scratches."""
    batch, _, height, width = x_BCHW.shape
    device = x_BCHW.device
    rows = torch.arange(height, device=device).expand(batch, height)
    columns = torch.arange(width, device=device).expand(batch, width)
    if chance.coin is not None:
        rows = torch.where(chance.coin[0], height - 1 - rows, rows)
        columns = torch.where(chance.coin[1], width - 1 - columns, columns)
    rows = (rows + chance.shift[0]).clamp_(0, height - 1)
    columns = (columns + chance.shift[1]).clamp_(0, width - 1)
    picture = torch.arange(batch, device=device)[:, None, None]
    x_BHWC = x_BCHW.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]]
    if chance.coin is not None:
        x_BHWC = torch.where(chance.coin[2][:, :, None, None], x_BHWC.transpose(1, 2), x_BHWC)
    return x_BHWC.permute(0, 3, 1, 2)


def _spread(shape: tuple[int, ...], reach: float, rng: torch.Generator) -> Tensor:
    """Uniform numbers in ±reach."""
    return (torch.rand(shape, generator=rng, device=rng.device) * 2.0 - 1.0) * reach
