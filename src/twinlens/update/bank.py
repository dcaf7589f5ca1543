"""A memory bank: what was last said of every sample of the data."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from twinlens import random
from twinlens.errors import InputError


class MemoryBank(nn.Module):
    """A row for each sample (Wu et al. 2018, arXiv 1805.01978, section 3.1).

    `rows` (count, D) are of length 1 and take no gradient. At first they are random, from torch's own generator. In
    several processes `Method.update` is given the whole batch in each, so all banks stay equal and nothing has to be
    sent.

    Args:
        count: Samples in the data.
        dim: D, the width of the embeddings.
    """

    rows: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        if count < 1 or dim < 1:
            raise InputError(f"count is {count} and dim {dim}: expected 1 or more of both.")
        self.register_buffer("rows", normalize(torch.randn(count, dim)))

    @torch.no_grad()
    def blend(self, index: Tensor, z: Tensor, *, momentum: float = 0.5) -> None:
        """v <- momentum * v + (1 - momentum) * z, brought to length 1, for the samples at `index` (N,).

        The rows of `z` (N, D) are brought to length 1 first. A sample that occurs several times, in two views say,
        counts once, by the mean of its rows. The paper replaces v by z; the momentum is of the authors' code.
        """
        self._check(index)
        if z.shape != (len(index), self.rows.shape[1]):
            raise InputError(
                f"z has shape {tuple(z.shape)}: expected {(len(index), self.rows.shape[1])}, a row of the bank's width "
                f"for each index."
            )
        if not 0 <= momentum <= 1:
            raise InputError(f"momentum is {momentum}: expected a share in [0, 1].")
        sample, place = index.to(self.rows.device).unique(return_inverse=True)
        # In float64, as a GPU adds in no fixed order: differences stay below what float32 shows.
        total = self.rows.new_zeros(len(sample), z.shape[1], dtype=torch.float64)
        total.index_add_(0, place, normalize(z.to(total)))
        mean = total / place.bincount()[:, None]
        self.rows[sample] = normalize(momentum * self.rows[sample] + (1 - momentum) * mean).to(self.rows)

    def draw(self, index: Tensor, count: int, key: Tensor) -> Tensor:
        """Places (N, count) int64 of negatives of the samples at `index` (N,): uniform over all rows but their own.

        With replacement, as the noise of section 3.2 is (there a sample may meet itself). `key` (N,) is counted
        randomness of this draw's own, `fold(batch.key, number)` say. With `info_nce`: `negatives=bank.rows[places]`.
        """
        self._check(index)
        others = len(self.rows) - 1
        if count < 1 or others < 1:
            raise InputError(
                f"{count} negatives of a bank of {others + 1} rows: expected 1 or more, of 2 rows or more."
            )
        if key.shape != index.shape:
            raise InputError(f"key has shape {tuple(key.shape)}: expected {tuple(index.shape)}, one for each index.")
        place = random.bits(key, count) * others >> 32  # 32 bits each: uniform to a share of others / 2^32
        return place + (place >= index[:, None])  # passes over the sample's own row

    def _check(self, index: Tensor) -> None:
        if index.ndim != 1 or index.is_floating_point() or index.dtype == torch.bool:
            raise InputError(f"index has shape {tuple(index.shape)} and dtype {index.dtype}: expected (N,) integers.")
        for wrong in index[(index < 0) | (index >= len(self.rows))][:1].tolist():
            raise InputError(
                f"index holds {wrong}: expected places in the data from 0 to {len(self.rows) - 1}; make the bank of as "
                f"many rows as there are samples."
            )
