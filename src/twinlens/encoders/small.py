"""A small residual network that trains in minutes on a processor without an accelerator.

Chosen by measurement on Fashion-MNIST: after equally many steps of SimCLR, designs of 7 to 11 MFLOP were equally good
(one seed each), so this is the fastest of them. Its stem goes to about 7 x 7 positions at once, as a ViT does, but with
windows that overlap; a stage at 14 x 14 in between cost a sixth to a quarter of the speed.
"""

import torch
from torch import Tensor, nn


def _layer(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    """x + layer(x), of one convolution: half the norms and activations of the usual two, which cost as much here."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = _layer(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layer(x)
        return out


class Small(nn.Module):
    """A strided stem, a residual layer, half the resolution, four times the width, and the mean over pixels."""

    def __init__(self, channels: int, stride: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _layer(channels, width, max(3, 2 * stride - 1), stride),  # (N, width, about 7 to 13, the same)
            _Residual(width),
            _layer(width, 2 * width, 3, 2),
            _layer(2 * width, 4 * width, 1),
        )
        self.dim = 4 * width

    def forward(self, view: Tensor) -> Tensor:
        """`view` (N, C, H, W) -> (N, D)."""
        # Channels last: batch norm then runs along memory, several times as fast on a processor. `contiguous` would see
        # nothing to do in a view of one channel; `to` changes its strides, which decide the layout of all that follows.
        features: Tensor = self.layers(view.to(memory_format=torch.channels_last))  # (N, D, H', W')
        return features.mean(dim=(2, 3))


def _stride(size: int) -> int:
    """The largest power of two that leaves 7 x 7 positions or more, or 1: every size costs about the same."""
    return max((2**i for i in range(size.bit_length()) if 7 * 2**i <= size), default=1)


def small(channels: int, size: int, *, width: int = 64) -> Small:
    """A network for processors: D = 4 * `width`.

    Args:
        channels: Channels of a view.
        size: Height and width of a view, in pixels.
        width: Channels after the stem, best a multiple of 16. The default is the width that was measured: 7.3 MFLOP
            for a view of 28 x 28.
    """
    return Small(channels, _stride(size), width)
