"""Residual networks (He et al. 2016, "Deep residual learning for image recognition", table 1), without a classifier.

Two changes that everybody makes: a bottleneck strides in its 3x3 convolution instead of the first 1x1 (Goyal et al.
2017, section 5.1; "v1.5"), and the last norm of each block starts at zero, so that a block starts as the identity
(there too). Views of 64 pixels or fewer get the stem that SimCLR gives CIFAR-10 (Chen et al. 2020, appendix B.9).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from twinlens.errors import unknown

Branch = Callable[[int, int, int], nn.Sequential]
"""(channels in, channels of the stage, stride) -> what a block adds to its shortcut."""


def _conv(channels: int, out: int, kernel: int, stride: int = 1, scale: float = 1.0) -> tuple[nn.Module, nn.Module]:
    """A convolution and its norm, whose scale starts at `scale`."""
    conv, norm = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(out)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")  # He et al. 2015, section 2.2
    nn.init.constant_(norm.weight, scale)
    return conv, norm


def _basic(channels: int, stage: int, stride: int) -> nn.Sequential:
    first, second = _conv(channels, stage, 3, stride), _conv(stage, stage, 3, scale=0)
    return nn.Sequential(*first, nn.ReLU(inplace=True), *second)


def _bottleneck(channels: int, stage: int, stride: int) -> nn.Sequential:
    reduce, middle = _conv(channels, stage, 1), _conv(stage, stage, 3, stride)
    expand = _conv(stage, 4 * stage, 1, scale=0)
    return nn.Sequential(*reduce, nn.ReLU(inplace=True), *middle, nn.ReLU(inplace=True), *expand)


class _Block(nn.Module):
    """relu(branch + shortcut); the shortcut is a strided 1x1 convolution where the shape changes (option B)."""

    def __init__(self, branch: nn.Sequential, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        same = channels == out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_conv(channels, out, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.branch(x).add_(self.shortcut(x)))


class ResNet(nn.Module):
    """A stem, four stages of blocks that halve the resolution from the second on, and the mean over pixels."""

    def __init__(
        self, channels: int, size: int, branch: Branch, expansion: int, blocks: tuple[int, ...], *, large: bool
    ) -> None:
        super().__init__()
        pool = [nn.MaxPool2d(3, stride=2, padding=1)] if large else []
        conv = _conv(channels, 64, 7, 2) if large else _conv(channels, 64, 3)
        self.stem = nn.Sequential(*conv, nn.ReLU(inplace=True), *pool)
        widths = [64, *(expansion * 64 * 2**i for i in range(4))]
        stages = []
        for i, (before, after) in enumerate(pairwise(widths)):
            stride = 1 if i == 0 else 2
            shapes = [(before, stride)] + [(after, 1)] * (blocks[i] - 1)
            stages += [_Block(branch(into, 64 * 2**i, step), into, after, step) for into, step in shapes]
        self.stages = nn.Sequential(*stages)
        self.dim, self.shape = widths[-1], (channels, size, size)

    def forward(self, view: Tensor) -> Tensor:
        """`view` (N, C, H, W) -> (N, D)."""
        view = view.to(memory_format=torch.channels_last)  # batch norm then runs along memory
        features: Tensor = self.stages(self.stem(view))  # (N, D, H', W')
        return features.mean(dim=(2, 3))


def _large(stem: str, size: int) -> bool:
    if stem not in ("auto", "imagenet", "cifar"):
        raise unknown("stem", stem, ("auto", "imagenet", "cifar"))
    return stem == "imagenet" or (stem == "auto" and size > 64)


def resnet18(channels: int, size: int, *, stem: str = "auto") -> ResNet:
    """ResNet-18: 11.2 million parameters, D = 512.

    Args:
        channels: Channels of a view.
        size: Height and width of a view, in pixels.
        stem: "imagenet" (7x7, stride 2, then max-pooling; He et al. 2016, table 1), "cifar" (3x3, no pooling; Chen et
            al. 2020, appendix B.9), or "auto": the first for views of more than 64 pixels.
    """
    return ResNet(channels, size, _basic, 1, (2, 2, 2, 2), large=_large(stem, size))


def resnet50(channels: int, size: int, *, stem: str = "auto") -> ResNet:
    """ResNet-50: 23.5 million parameters, D = 2048.

    Args:
        channels: Channels of a view.
        size: Height and width of a view, in pixels.
        stem: "imagenet" (7x7, stride 2, then max-pooling; He et al. 2016, table 1), "cifar" (3x3, no pooling; Chen et
            al. 2020, appendix B.9), or "auto": the first for views of more than 64 pixels.
    """
    return ResNet(channels, size, _bottleneck, 4, (3, 4, 6, 3), large=_large(stem, size))
