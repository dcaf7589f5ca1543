"""Schedules: functions of the share of the run that is done, never of absolute steps."""

import math

import torch
from torch import Tensor


def cosine(progress: float, start: float, end: float) -> float:
    """From `start` at progress 0 to `end` at progress 1 along half a cosine (Loshchilov & Hutter 2017, eq. 5)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(progress: float, *, warmup: float) -> float:
    """The factor of the learning rate: linear from 0 to 1 over the share `warmup`, then a cosine down to 0."""
    if progress < warmup:
        return progress / warmup
    return cosine((progress - warmup) / (1 - warmup), 1.0, 0.0)


def warmed(progress: Tensor, start: float, end: float, warmup: float) -> Tensor:
    """From `start` to `end` along a line over the share `warmup` of the run, then `end`."""
    done = (progress / warmup).clamp(max=1) if warmup else torch.ones_like(progress)
    return start + (end - start) * done


def frozen(parameter: Tensor, progress: Tensor, *, until: float) -> Tensor:
    """`parameter`, which takes no gradient before the share `until` of the run is done.

    More exactly a gradient of zero, not none: that is what it has to give in several processes.
    """
    return torch.where(progress < until, parameter.detach(), parameter)
