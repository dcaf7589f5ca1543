"""Schedules: functions of the share of the run that is done, never of absolute steps."""

import math


def cosine(progress: float, start: float, end: float) -> float:
    """From `start` at progress 0 to `end` at progress 1 along half a cosine (Loshchilov & Hutter 2017, eq. 5)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(progress: float, *, warmup: float) -> float:
    """The factor of the learning rate: linear from 0 to 1 over the share `warmup`, then a cosine down to 0."""
    if progress < warmup:
        return progress / warmup
    return cosine((progress - warmup) / (1 - warmup), 1.0, 0.0)
