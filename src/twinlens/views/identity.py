"""Who is who: a number for each view, so that what occurs twice is known not to differ from itself."""

import torch
from torch import Tensor

from twinlens.random import threefry


def digest(ids: Tensor) -> Tensor:
    """A number for each row of ids (N, T) int64: (N,) int64, the same for the same words, however far it is filled up.

    The sum of a hash of each word and its place, modulo 2^64: rows that differ share one with probability 2^-64.
    `batch.PAD` adds nothing.
    """
    place = torch.arange(ids.shape[1], device=ids.device)
    high, low = threefry((place, torch.zeros_like(place)), (ids.clamp(min=0), torch.ones_like(place)))
    return ((high << 32) | low).masked_fill(ids < 0, 0).sum(dim=1)
