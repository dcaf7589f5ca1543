"""W-MSE: two views agree after whitening, which keeps samples apart without negatives."""

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.heads.mlp import mlp
from twinlens.losses import negative_cosine
from twinlens.method import Method

SHRINK = 1e-6  # of the mean variance, added to each: small enough that no dimension can hide under it


def whiten(z: Tensor) -> Tensor:
    """`z` (N, D) at mean 0 and covariance identity, by the covariance's Cholesky factor (section 3): (N, D).

    In float64, as the covariance may be nearly singular. With N <= D it is: then N - 1 dimensions are whitened.
    """
    x = z.double() - z.double().mean(0)
    covariance = x.T.cov()  # (D, D)
    least = SHRINK * covariance.diagonal().mean() + 1e-30  # in proportion, so that the scale of z is of no account
    L = torch.linalg.cholesky(covariance + least * torch.eye(len(covariance), dtype=x.dtype, device=x.device))
    v: Tensor = torch.linalg.solve_triangular(L, x.T, upper=False).T
    return v.to(z.dtype)


class WMSE(Method):
    """Ermolov, Siarohin, Sangineto, Sebe 2021, "Whitening for self-supervised representation learning".

    arXiv 2007.06346, section 3, with one positive pair a sample (W-MSE 2). A batch is cut, in counted random order,
    into sub-batches that are whitened each by itself, view by view; a batch smaller than one is whitened whole. With
    no more samples than `dim` nothing keeps them apart in the dimensions that are missing: use twice as many.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projection head's hidden layer; 1024 (the authors' code).
        dim: Width of the embedding; 64 (section 4, CIFAR-10; 128 for Tiny ImageNet).
        sub_batch: Samples whitened together, at least, in multiples of dim; 2 (section 3: 128 where dim is 64).
        iterations: Orders in which a batch is cut, whose losses are averaged; 1 (section 4, CIFAR-10; 4 for others).
    """

    views = Views(large=2)

    def __init__(
        self, encoder: nn.Module, *, hidden: int = 1024, dim: int = 64, sub_batch: float = 2.0, iterations: int = 1
    ) -> None:
        super().__init__()
        if sub_batch <= 1:
            raise InputError(f"sub_batch is {sub_batch}: expected above 1, as whitening needs more samples than dim.")
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, dim)
        self.size, self.iterations = round(sub_batch * dim), iterations

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z1, z2 = (self.project(self.encoder(view)) for view in batch.views)  # (N, dim)
        return z1, z2, batch.key

    def compare(self, z1: Tensor, z2: Tensor, key: Tensor) -> Tensor:
        orders = random.bits(key, self.iterations).argsort(dim=0, stable=True)  # (N, iterations)
        losses = []
        for order in orders.unbind(1):
            parts = order.tensor_split(max(1, len(order) // self.size))
            v1, v2 = (torch.cat([whiten(z[part]) for part in parts]) for z in (z1, z2))  # (N, dim), in that order
            losses.append(2 + 2 * negative_cosine(v1, v2))  # squared distance of unit vectors
        return torch.stack(losses).mean()
