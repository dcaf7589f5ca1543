"""Barlow Twins: the cross-correlation of two views' embeddings is pushed towards the identity."""

from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.method import Method


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """Correlation, over the batch, of every dimension of `z1` (N, D) with every one of `z2` (N, D): (D, D) (eq. 2)."""
    z1, z2 = (F.batch_norm(z, None, None, training=True) for z in (z1, z2))  # mean 0 and variance 1 over the batch
    return z1.T @ z2 / len(z1)


class BarlowTwins(Method):
    """Zbontar, Jing, Misra, LeCun, Deny 2021, "Barlow Twins: self-supervised learning via redundancy reduction".

    arXiv 2103.03230, section 2.1 and algorithm 1.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projector's three layers; 8192 (section 2.2).
        redundancy: Lambda, the weight of the correlations off the diagonal; 5e-3 (section 2.2).
    """

    views = Views(large=2, strength="asymmetric")

    def __init__(self, encoder: nn.Module, *, hidden: int = 8192, redundancy: float = 5e-3) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = mlp(dim_of(encoder), hidden, hidden, hidden)
        self.redundancy = redundancy

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z1, z2 = (self.projector(self.encoder(view)) for view in batch.views)  # (N, hidden)
        return z1, z2

    def compare(self, z1: Tensor, z2: Tensor) -> Tensor:
        c = cross_correlation(z1, z2)  # (hidden, hidden)
        invariance = (1 - c.diagonal()).square().sum()
        redundancy = c.square().sum() - c.diagonal().square().sum()
        return invariance + self.redundancy * redundancy  # eq. 1
