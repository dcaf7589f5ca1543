"""Slow copies: an exponential moving average of a network, followed without gradient."""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def slow_copy(module: M) -> M:
    """An equal copy whose parameters take no gradient."""
    return deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, *, momentum: float) -> None:
    """slow <- momentum * slow + (1 - momentum) * fast, for every parameter (Tarvainen & Valpola 2017, eq. 4).

    Buffers are left alone: a slow copy runs in training mode and keeps its own batch statistics.
    """
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - momentum)
