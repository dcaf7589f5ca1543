"""A queue of earlier embeddings: more negatives than a batch holds."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from twinlens.errors import InputError


class Queue(nn.Module):
    """The newest K embeddings of earlier batches (He et al. 2020, arXiv 1911.05722, section 3.2).

    `rows` (K, D) are of length 1 and take no gradient: `info_nce(q, k, queue.rows, ids=ids, negative_ids=queue.ids)`.
    `ids` (K,) int64 say which sample a row came from, -1 where that is unknown. At first the rows are random, from
    torch's own generator, as in the authors' code. In several processes `Method.update` is given the whole batch in
    each, so all queues stay equal and nothing has to be sent.

    Args:
        size: K; 65,536 in the paper. It need not be a multiple of the batch.
        dim: D, the width of the embeddings.
    """

    rows: Tensor
    ids: Tensor
    start: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise InputError(f"size is {size} and dim {dim}: expected 1 or more of both.")
        self.register_buffer("rows", normalize(torch.randn(size, dim)))
        self.register_buffer("ids", torch.full((size,), -1))
        self.register_buffer("start", torch.tensor(0))  # the place of the oldest row; a tensor, so that it is saved

    @torch.no_grad()
    def push(self, z: Tensor, ids: Tensor | None = None) -> None:
        """Writes the rows of `z` (N, D), brought to length 1, over the oldest; of more than K it keeps the last K.

        For `Method.update`. That runs after the optimizer's step, when no graph is left that could need the rows as
        they were; were there one, its backward would raise, since torch counts what is written in place.
        """
        size, dim = self.rows.shape
        if z.ndim != 2 or z.shape[1] != dim:
            raise InputError(f"z has shape {tuple(z.shape)}: expected (N, {dim}), as the queue's rows are.")
        if ids is None:
            ids = self.ids.new_full((len(z),), -1)
        elif ids.shape != z.shape[:1] or ids.is_floating_point():
            raise InputError(
                f"ids has shape {tuple(ids.shape)} and dtype {ids.dtype}: expected one integer for each of the "
                f"{len(z)} rows."
            )
        z, ids = z[-size:], ids[-size:]
        place = (self.start + torch.arange(len(z), device=self.start.device)) % size
        self.rows[place] = normalize(z.to(self.rows))
        self.ids[place] = ids.to(self.ids)
        self.start.copy_((self.start + len(z)) % size)
