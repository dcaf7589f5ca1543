"""The contract of every self-supervised method: create pairs, encode, compare, update."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from twinlens.batch import Batch, Views


class Method(nn.Module, ABC):
    """A method is its four steps; the trainer knows nothing else about it.

    A subclass takes its encoder (or encoders) as positional arguments and its paper's hyperparameters as keyword-only
    ones, whose defaults are the paper's. An encoder is any module with `dim`, the width D of what it gives.
    """

    views: ClassVar[Views] = Views()
    """Step 1, create pairs: what the method asks of the data."""

    coupled: ClassVar[bool] = True
    """Whether `compare` relates samples to one another. If not, it is the mean of a loss for each sample, nothing is
    gathered from other processes, and `update` is called without parts."""

    @abstractmethod
    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        """Step 2, on one device and as many micro-batches as memory asks for: parts whose first axis is the sample."""

    @abstractmethod
    def compare(self, *parts: Tensor) -> Tensor:
        """Step 3, once for the whole batch, from all micro-batches of all processes: the loss, a scalar."""

    def update(self, progress: float, *parts: Tensor) -> None:
        """Step 4, after the optimizer's step, without gradient; `progress` is the share of the run done, in [0, 1]."""

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """`encode`, under the name by which wrappers (DDP, mixed precision) call a module."""
        return self.encode(batch)
