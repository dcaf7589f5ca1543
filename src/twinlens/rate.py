"""Learning rates that differ from the run's, part by part."""

from typing import NamedTuple, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


class Rate(NamedTuple):
    """How a part's learning rate differs from the run's: by a factor, and whether it keeps out of the schedule.

    `momentum` takes the place of the optimizer's own (of AdamW, the first beta).
    """

    factor: float = 1.0
    fixed: bool = False
    momentum: float | None = None


def with_rate(module: M, rate: Rate) -> M:
    """The module, whose parameters `optimizer` will give a rate of their own; a part of it may have yet another."""
    object.__setattr__(module, "_twinlens_rate", rate)
    return module
