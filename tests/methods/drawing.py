"""What tests of methods that draw views share: an encoder of any shape, and batches of noise for it."""

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch

SHAPES = [(1, 28, 28), (3, 8, 8), (3, 7, 9), (2, 64), (16,), (4, 3, 14, 14)]


class Flat(nn.Module):
    """(N, *shape) -> (N, 12), one layer over all numbers."""

    dim = 12

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(self.dim), nn.Tanh())
        self(torch.zeros(1, *shape))

    def forward(self, view: Tensor) -> Tensor:
        out: Tensor = self.layers(view)
        return out


def batch(*shape: int, samples: int = 5, views: int = 1, seed: int = 0) -> Batch:
    """Float64 views of noise in [-2, 2]."""
    generator = torch.Generator().manual_seed(seed)
    made = tuple(4 * torch.rand(samples, *shape, generator=generator).double() - 2 for _ in range(views))
    index = torch.arange(samples)
    return Batch(made, index, random.keys(seed, 0, index))
