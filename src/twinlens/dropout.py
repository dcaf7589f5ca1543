"""Counted dropout: what is dropped of a sample depends on its key, not on the batch, the process or the micro-batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from twinlens import random

_LEVELS = 256  # a byte is drawn for each number


class _Count:
    """The keys (N,) of the samples that are encoded, and how often something was dropped of them."""

    def __init__(self, key: Tensor) -> None:
        self.key, self.calls = key, 0
        self.part: tuple[Tensor, int] | None = None  # which rows are encoded, of how many

    def next(self, rows: int) -> Tensor:
        """A key for each of `rows` rows, views one after the other, N rows each: (rows,)."""
        self.calls += 1
        key, total = random.fold(self.key, self.calls), rows if self.part is None else self.part[1]
        whole = torch.cat([random.fold(key, view) for view in range(-(-total // len(key)))])[:total]
        return whole if self.part is None else whole[self.part[0]]


_counting: ContextVar[_Count | None] = ContextVar("counting", default=None)


@contextmanager
def counted(key: Tensor) -> Iterator[None]:
    """Inside, what `Dropout` drops is a function of the samples' keys (N,) and of how many came before it."""
    before = _counting.set(_Count(key))
    try:
        yield
    finally:
        _counting.reset(before)


def parted(parts: Sequence[Tensor], rows: int) -> Iterator[Tensor]:
    """Each of `parts`, rows (n,) of all `rows`, in turn: what is encoded in the loop's body are those rows of a view.

    Of them is dropped what would be if all were encoded together. For encoders that take texts of like lengths together.
    """
    count = _counting.get()
    start = 0 if count is None else count.calls
    for part in parts:
        if count is not None:
            count.calls, count.part = start, (part, rows)
        yield part
    if count is not None:
        count.part = None


class Dropout(nn.Module):
    """Srivastava et al. 2014, JMLR 15:1929-1958, its share to the nearest 256th: (N, ...) -> (N, ...).

    In training, inside `counted`, rows belong to the N samples of the keys, or to several views of them one after the
    other. Elsewhere torch's own generator draws.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.dropped = round(share * _LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        count = _counting.get()
        if count is None:
            return dropout(x, self.share)
        each = prod(x.shape[1:])
        words = random.packed(count.next(len(x)), -(-each // 8))  # (N, each / 8), eight bytes in each
        drawn = words.view(torch.uint8)[:, :each].view(x.shape)
        return x * (drawn >= self.dropped) * (_LEVELS / (_LEVELS - self.dropped))

    def extra_repr(self) -> str:
        return f"share={self.share}"
