"""CoSENT: pairs that are more alike than others have the larger cosine."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.losses.inputs import embeddings, unit
from twinlens.method import Method


class CoSENT(Method):
    """Huang et al. 2024, "CoSENT: consistent sentence embedding via similarity ranking".

    doi:10.1109/TASLP.2024.3402087; by its form in sentence-transformers' CoSENTLoss (scale 20). It learns from the
    labels of its pairs, of which only the order counts: a score of how alike the two are, or a class that says so.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        temperature: Divides the cosines; 0.05 (there).
    """

    views = Views(large=2, paired=True, labels=True)

    def __init__(self, encoder: nn.Module, *, temperature: float = 0.05) -> None:
        super().__init__()
        dim_of(encoder)
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}: expected a number above 0.")
        self.encoder, self.temperature = encoder, temperature

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        assert batch.target is not None
        u, v = (self.encoder(view) for view in batch.views[:2])
        return u, v, batch.target

    def compare(self, u: Tensor, v: Tensor, target: Tensor) -> Tensor:
        """log(1 + sum of exp((cos_j - cos_i) / temperature)) over all i that are to be more alike than j."""
        u, v = embeddings(1, u=u, v=v)
        cosine = (unit(u) * unit(v)).sum(dim=1) / self.temperature  # (N,)
        wrong = cosine - cosine[:, None]  # (N, N): j minus i
        wrong = wrong.masked_fill(target[:, None] <= target, -torch.inf)
        return torch.cat((cosine.new_zeros(1), wrong.flatten())).logsumexp(0)
