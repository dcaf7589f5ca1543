"""SimCLR: each view finds its partner among all views of the batch."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses import decoupled, nt_xent
from twinlens.method import Method


class SimCLR(Method):
    """Chen, Kornblith, Norouzi, Hinton 2020, "A simple framework for contrastive learning of visual representations".

    arXiv 2002.05709, algorithm 1.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projection head's hidden layer; 2048, ResNet-50's D (section 2.1).
        dim: Width of the projection; 128 (section 2.1).
        temperature: Divides the cosine similarities; 0.1 (table 5, ImageNet); 0.5 for CIFAR-10 (appendix B.9).
        decoupled: Leave the positive out of the denominator: DCL (Yeh et al. 2022, arXiv 2110.06848); false.
    """

    views = Views(large=2)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 128,
        temperature: float = 0.1,
        decoupled: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, dim)
        self.temperature, self.decoupled = temperature, decoupled

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        # one forward, so batch norm sees both views, as in the paper; texts of a pair differ in length
        h = torch.cat([self.encoder(views) for views in batch.by_size()])  # (2N, D)
        z1, z2 = self.project(h).chunk(2)
        return z1, z2

    def compare(self, z1: Tensor, z2: Tensor) -> Tensor:
        loss = decoupled if self.decoupled else nt_xent
        return loss(z1, z2, temperature=self.temperature)
