"""The network itself, where a fault would not show in what it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from puzzlenet.config import Architecture
from puzzlenet.network import ConvNorm, PuzzleNet


@pytest.mark.parametrize("width", [4, 8, 15, 16])
def test_no_strided_1x1_has_fewer_channels_than_a_block(width: int) -> None:
    """Else oneDNN writes past its memory in training (uxlfoundation/oneDNN#6035); whether that is noticed is chance."""
    network = PuzzleNet(Architecture(width=width), classes=3)
    pointwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert pointwise
    assert all(conv.stride == (1, 1) or conv.in_channels >= 16 for conv in pointwise)


@pytest.mark.parametrize("size", [16, 15])
def test_few_channels_give_what_the_strided_convolution_gives(size: int) -> None:
    torch.manual_seed(0)
    shortcut = ConvNorm(4, 8, kernel=1, stride=2).eval()
    pictures = torch.randn(3, 4, size, size)
    strided = nn.functional.conv2d(pictures, shortcut.conv.weight, stride=2)
    with torch.no_grad():
        torch.testing.assert_close(shortcut(pictures), shortcut.norm(strided))
        expected = shortcut(pictures)
        shortcut.fold()
        torch.testing.assert_close(shortcut(pictures), expected)
