"""Layers whose weights are held to a largest singular value of one, for discriminators."""

from collections.abc import Sequence
from math import prod
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

_FIRST = 15  # iterations at construction, after which sigma of a random matrix is a few per cent off (measured)

M = TypeVar("M", bound=nn.Module)


def spectral(module: M) -> M:
    """The module, whose weight (D', ...) is divided by its largest singular value from now on.

    Miyato et al. 2018, "Spectral normalization for generative adversarial networks", arXiv 1802.05957, section 2.1 and
    algorithm 1. A convolution's weight counts as the matrix (D', the rest). The power iteration moves only in
    `advance`, so that a forward changes nothing; as in the paper, gradients take its two vectors for constants.
    """
    parametrize.register_parametrization(module, "weight", _Spectral(module.weight))  # type: ignore[arg-type]
    return module


def advance(module: nn.Module) -> None:
    """One step of the power iteration for every such weight inside: after a step of the optimizer."""
    for part in module.modules():
        if isinstance(part, parametrize.ParametrizationList) and isinstance(own := part[0], _Spectral):
            own.iterate(part.original)


class _Spectral(nn.Module):
    """W / sigma(W), with sigma = u^T W v of the singular vectors that the power iteration has found so far."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.u: Tensor
        self.v: Tensor
        self.register_buffer("u", normalize(torch.randn(len(weight)), dim=0))
        self.register_buffer("v", torch.zeros(weight[0].numel()))
        for _ in range(_FIRST):
            self.iterate(weight)

    def forward(self, weight: Tensor) -> Tensor:
        # Not as a product of matrices, which mixed precision would round
        sigma = (weight.flatten(1) * self.v).sum(dim=1) @ self.u
        return weight / sigma

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        w = weight.flatten(1)
        self.v.copy_(normalize(w.T @ self.u, dim=0))
        self.u.copy_(normalize(w @ self.v, dim=0))


class PairDiscriminator(nn.Module):
    """The logarithm of the odds that x (N, *shape) and z (N, dim) are a pair of one kind and not of another, (N,).

    Every weight is `spectral`, and no norm couples samples. Pictures (C, H, W) go through convolutions that halve their
    sides and double their features, the first having `width`, down to less than eight; all else through a linear layer.
    """

    def __init__(self, shape: Sequence[int], dim: int, *, width: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if len(shape) == 3:
            channels, *sides = shape
            while min(sides) >= 8:
                layers += [spectral(nn.Conv2d(channels, width, 4, stride=2, padding=1)), nn.LeakyReLU(_SLOPE)]
                channels, width, sides = width, 2 * width, [side // 2 for side in sides]
            shape = (channels, *sides)
        self.of_x = nn.Sequential(*layers, nn.Flatten(), *_linear(prod(shape), hidden))
        self.of_z = nn.Sequential(*_linear(dim, hidden))
        self.of_both = nn.Sequential(*_linear(2 * hidden, hidden), spectral(nn.Linear(hidden, 1)), nn.Flatten(0))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        odds: Tensor = self.of_both(torch.cat((self.of_x(x), self.of_z(z)), dim=1))
        return odds


_SLOPE = 0.2  # DCGAN (Radford et al. 2016, arXiv 1511.06434, section 4)


def _linear(before: int, after: int) -> tuple[nn.Module, ...]:
    return spectral(nn.Linear(before, after)), nn.LeakyReLU(_SLOPE)
