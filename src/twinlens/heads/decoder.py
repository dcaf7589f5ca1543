"""From an embedding back to a view: what autoencoders, generators and predictors of frames share."""

from collections.abc import Sequence
from math import prod

from torch import nn

from twinlens.errors import InputError

_CELLS = 7  # the least side of the map that is made of an embedding, as the stem of the small encoder leaves


def decoder(dim: int, shape: Sequence[int], *, width: int = 32) -> nn.Sequential:
    """A network (N, dim) -> (N, *shape): transposed convolutions for pictures (C, H, W), a perceptron for all else.

    As the generator of DCGAN (Radford et al. 2016, arXiv 1511.06434, section 3): a linear map to a small map of
    features, then convolutions that double its side and halve its features, the last of `width`, and no norm on the
    pixels. Norms are group norms (Wu & He 2018, arXiv 1803.08494), which couple no samples. The pixels have no bound.
    """
    if dim < 1 or width < 8 or width % 8:
        raise InputError(f"a decoder of {dim} features and width {width}: expected 1 or more, and a multiple of 8.")
    if len(shape) != 3:
        hidden = 8 * width
        layers: list[nn.Module] = [nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, prod(shape))]
        return nn.Sequential(*layers, nn.Unflatten(1, tuple(shape)))
    channels, height, breadth = shape
    doublings = _doublings(height, breadth)
    wide, cells = width * 2**doublings, (height >> doublings, breadth >> doublings)
    layers = [nn.Linear(dim, wide * prod(cells)), nn.Unflatten(1, (wide, *cells))]
    for step in range(doublings, 0, -1):
        into, out = width * 2**step, width * 2 ** (step - 1)
        layers += [nn.GroupNorm(8, into), nn.ReLU(), nn.ConvTranspose2d(into, out, 4, stride=2, padding=1)]
    layers += [nn.GroupNorm(8, width), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1)]
    return nn.Sequential(*layers)


def _doublings(height: int, breadth: int) -> int:
    """How often both sides can be halved, seven cells being left."""
    count = 0
    while height % 2 == breadth % 2 == 0 and min(height, breadth) >= 2 * _CELLS:
        height, breadth, count = height // 2, breadth // 2, count + 1
    return count
