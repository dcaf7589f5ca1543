"""The contract of every self-supervised method: create pairs, encode, compare, update."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.dropout import counted


class Method(nn.Module, ABC):
    """A method is its four steps; the trainer knows nothing else about it.

    A subclass takes its encoder (or encoders) as positional arguments and its paper's hyperparameters as keyword-only
    ones, whose defaults are the paper's. An encoder is any module with `dim`, the width D of what it gives.
    """

    views: Views = Views()
    """Step 1, create pairs: what the method asks of the data; an instance may ask for something else than its class."""

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
        """`encode` with counted dropout, under the name by which wrappers (DDP, mixed precision) call a module."""
        with counted(batch.key):
            return self.encode(batch)


@runtime_checkable
class Shows(Protocol):
    """A method that can show what it has learnt to predict, for the report."""

    def show(self, batch: Batch) -> Mapping[str, Tensor]:
        """Views (N, *shape) of a batch under their titles, such as what is seen, what is predicted and what is true."""


@runtime_checkable
class Decodes(Protocol):
    """A method that goes to a latent space and back, so that what lies between two samples can be seen."""

    def code(self, view: Tensor) -> Tensor:
        """(N, *shape) -> (N, d): where views lie in the latent space."""

    def decode(self, code: Tensor) -> Tensor:
        """(N, d) -> (N, *shape): what lies there."""


@runtime_checkable
class Generates(Decodes, Protocol):
    """A method that decodes what is drawn at random, too."""

    def draw(self, key: Tensor) -> Tensor:
        """Codes (N, d) from the prior, drawn from `key` (N,) alone."""


@runtime_checkable
class Watched(Protocol):
    """A method that has more to tell of its training than every method has, for the monitor."""

    def tell(self, batch: Batch) -> Mapping[str, float]:
        """Numbers by name, of a batch as in training; the method is in evaluation mode."""
