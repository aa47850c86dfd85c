"""PuzzleNet: a small residual network (He et al. 2016, basic blocks) for 64-pixel pictures.

Four stages halve the picture and double the channels. With the default width of 16 it has 0.3 million
parameters, which is what one CPU core trains in minutes and serves in milliseconds. The first layer starts as
the whitening transform of the training pictures' patches (after Jordan 2024, "94% on CIFAR-10 in 3.29 seconds"):
thin scratches then weigh as much as broad colours from the first step on. Shape suffixes: B images, C channels,
H and W pixels, K classes, E embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from puzzlenet.config import Architecture

_PATCH = 3 * 3 * 3  # numbers in one 3 × 3 patch of RGB
_ONEDNN_BLOCK = 16  # channels that its kernels take at once with AVX-512; 8 with AVX2


class ConvNorm(nn.Module):
    """A 3 × 3 (or 1 × 1) convolution and its batch norm, which fold into one convolution for inference.

    A strided 1 × 1 of few channels is made as one of stride 1 over every n-th pixel, which gives the same sums: in the
    weights' gradient of a strided one, oneDNN writes past its memory (uxlfoundation/oneDNN#6035), and the process may
    die of it.
    """

    def __init__(self, cin: int, cout: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.every = stride if kernel == 1 and cin < _ONEDNN_BLOCK else 1
        self.conv = nn.Conv2d(cin, cout, kernel, stride // self.every, kernel // 2, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(cout)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.every > 1:
            x_BCHW = x_BCHW[:, :, :: self.every, :: self.every]
        out: Tensor = self.norm(self.conv(x_BCHW))
        return out

    def fold(self) -> None:
        """Fold the batch norm into the convolution; only right once training is over."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, cin: int, cout: int, *, stride: int) -> None:
        super().__init__()
        self.one = ConvNorm(cin, cout, stride=stride)
        self.two = ConvNorm(cout, cout)
        same = stride == 1 and cin == cout
        self.shortcut: nn.Module = nn.Identity() if same else ConvNorm(cin, cout, kernel=1, stride=stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(self.two(torch.relu(self.one(x_BCHW))) + self.shortcut(x_BCHW))


class PuzzleNet(nn.Module):
    """Pictures to logits. ``embed`` gives what the last layer sees, for drift detection."""

    def __init__(self, architecture: Architecture, classes: int) -> None:
        super().__init__()
        width = architecture.width
        stages: list[nn.Module] = []
        cin = 2 * _PATCH
        for stage in range(4):
            cout = width * 2**stage
            for block in range(architecture.blocks):
                stages.append(Block(cin, cout, stride=2 if stage > 0 and block == 0 else 1))
                cin = cout
        self.stem = nn.Conv2d(3, 2 * _PATCH, 3, stride=2, padding=1, bias=False)
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(cin, classes)

    @torch.no_grad()
    def whiten(self, x_BCHW: Tensor, epsilon: float = 1e-2) -> None:
        """Start the first layer as the whitening of the patches of these pictures, each direction in both signs."""
        patches = nn.functional.unfold(x_BCHW, 3, stride=2).transpose(1, 2).reshape(-1, _PATCH).double()
        patches = patches - patches.mean(0)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / torch.sqrt(values + epsilon)).T.reshape(_PATCH, 3, 3, 3).float()
        self.stem.weight.copy_(torch.cat([filters, -filters]))

    def embed(self, x_BCHW: Tensor) -> Tensor:
        """Normalised pictures of shape (B, 3, H, W) to embeddings of shape (B, E), E = 8 × width."""
        x_BCHW = self.stages(torch.relu(self.stem(x_BCHW)))
        return x_BCHW.mean(dim=(2, 3))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalised pictures of shape (B, 3, H, W) to logits of shape (B, K)."""
        logits_BK: Tensor = self.head(self.embed(x_BCHW))
        return logits_BK

    def fold(self) -> "PuzzleNet":
        """Fold every batch norm, in place, and return the network in evaluation mode."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        return self

    def parameter_count(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


def on_device(network: PuzzleNet, device: torch.device) -> PuzzleNet:
    """The network on a device, its weights channels-last, which both CPUs and GPUs convolve faster."""
    moved = network.to(device)
    for parameter in moved.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return moved


def normalise(pixels_BHWC: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Bytes of shape (B, H, W, 3) to the network's input of shape (B, 3, H, W), channels-last in memory."""
    x_BCHW = pixels_BHWC.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)
    shape = (1, 3, 1, 1)
    m = torch.tensor(mean, device=x_BCHW.device).view(shape)
    s = torch.tensor(std, device=x_BCHW.device).view(shape)
    return x_BCHW.sub_(m).div_(s).contiguous(memory_format=torch.channels_last)
