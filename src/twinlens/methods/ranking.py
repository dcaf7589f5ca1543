"""Ranking: each anchor finds its positive among all positives and all hard negatives of the batch."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.losses import info_nce
from twinlens.method import Method
from twinlens.views.identity import digest


class Ranking(Method):
    """Henderson et al. 2017, "Efficient natural language response suggestion for smart reply".

    arXiv 1705.00652, section 4.4, here with cosines and hard negatives: Gao et al. 2021, "SimCSE: simple contrastive
    learning of sentence embeddings", arXiv 2104.08821, equation 5; of data without parts equation 4, of two views of
    each sample. It is sentence-transformers' MultipleNegativesRankingLoss (scale 20). The views are an anchor, its
    positive and any number of negatives, which are every anchor's. A candidate with the words of the positive is none.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        temperature: Divides the cosines; 0.05 (Gao et al., section 3 and table D.1).
        symmetric: Have each positive find its anchor among all anchors too, and take the mean of both; false.
        bound: Largest cosine of a negative, those above are left out as false ones; by default there is none.
    """

    views = Views(large=2, paired=True)

    def __init__(
        self, encoder: nn.Module, *, temperature: float = 0.05, symmetric: bool = False, bound: float | None = None
    ) -> None:
        super().__init__()
        dim_of(encoder)
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}: expected a number above 0.")
        self.encoder, self.temperature, self.symmetric, self.bound = encoder, temperature, symmetric, bound

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z = torch.stack([self.encoder(view) for view in batch.views], dim=1)  # (N, V, D): anchor, positive, negatives
        ids = [self.identity(batch, v) for v in range(1, z.shape[1])]
        return z, torch.stack(ids, dim=1)  # (N, V - 1)

    def compare(self, z: Tensor, ids: Tensor) -> Tensor:
        a, p, n = z[:, 0], z[:, 1], z[:, 2:].flatten(0, 1)  # (N, D), (N, D), (K, D): the negatives of all
        own, others = ids[:, 0], ids[:, 1:].flatten()
        how = {"temperature": self.temperature, "bound": self.bound}
        if len(n):
            loss = info_nce(a, p, n, in_batch=True, ids=own, negative_ids=others, **how)  # type: ignore[arg-type]
        else:
            loss = info_nce(a, p, ids=own, **how)  # type: ignore[arg-type]
        return (loss + info_nce(p, a, ids=own, **how)) / 2 if self.symmetric else loss  # type: ignore[arg-type]

    @staticmethod
    def identity(batch: Batch, v: int) -> Tensor:
        """A number (N,) for each view at `v`: of texts the same for the same words, else one of its own."""
        view = batch.views[v]
        if not view.is_floating_point():
            return digest(view)
        return batch.index if v == 1 else -1 - batch.index  # only a positive is asked whom it is like
