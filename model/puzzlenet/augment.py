"""Augmentation on the device that trains, in plain torch: no loader, no copies back to the CPU.

Symmetries that keep a label come from the data set (a piece may be flipped, a digit may not). Light and camera
vary only mildly on purpose: a model that should not care about the line at all would need pictures of it.
"""

import torch
from torch import Tensor

from puzzlenet.dataset import Symmetries

_SHIFT = 2  # largest move in 1/64 of the picture


def augment(x_BCHW: Tensor, symmetries: Symmetries, rng: torch.Generator, light: float = 0.12) -> Tensor:
    """Move, turn and relight normalised pictures of shape (B, 3, H, W); a fresh tensor, channels-last."""
    x_BCHW = _move(x_BCHW, symmetries, rng)
    batch = x_BCHW.shape[0]
    gain = 1.0 + _spread((batch, 1, 1, 1), light, x_BCHW, rng)
    lift = _spread((batch, 3, 1, 1), light, x_BCHW, rng)
    return (x_BCHW * gain + lift).contiguous(memory_format=torch.channels_last)


def _move(x_BCHW: Tensor, symmetries: Symmetries, rng: torch.Generator) -> Tensor:
    """Whole-pixel moves, flips and quarter turns only: interpolation would rub out the thinnest scratches."""
    batch, _, height, width = x_BCHW.shape
    device = x_BCHW.device
    rows = torch.arange(height, device=device).expand(batch, height)
    columns = torch.arange(width, device=device).expand(batch, width)
    turned = torch.zeros(batch, dtype=torch.bool, device=device)
    if symmetries == "square":
        coin = torch.randint(2, (3, batch, 1), generator=rng, device=device).bool()
        rows = torch.where(coin[0], height - 1 - rows, rows)
        columns = torch.where(coin[1], width - 1 - columns, columns)
        turned = coin[2, :, 0]
    reach = max(1, _SHIFT * height // 64)
    shift = torch.randint(-reach, reach + 1, (2, batch, 1), generator=rng, device=device)
    rows = (rows + shift[0]).clamp_(0, height - 1)
    columns = (columns + shift[1]).clamp_(0, width - 1)
    picture = torch.arange(batch, device=device)[:, None, None]
    x_BHWC = x_BCHW.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]]
    x_BHWC = torch.where(turned[:, None, None, None], x_BHWC.transpose(1, 2), x_BHWC)
    return x_BHWC.permute(0, 3, 1, 2)


def _spread(shape: tuple[int, ...], reach: float, like: Tensor, rng: torch.Generator) -> Tensor:
    """Uniform numbers in ±reach on the device of ``like``."""
    return (torch.rand(shape, generator=rng, device=like.device) * 2.0 - 1.0) * reach
