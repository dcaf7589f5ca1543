"""SupCon: each view finds all views of its class among all views of the batch."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses import supcon
from twinlens.method import Method


class SupCon(Method):
    """Khosla et al. 2020, "Supervised contrastive learning".

    arXiv 2004.11362, section 3. It learns from the labels of its samples.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projection's hidden layer; 2048 (section 3.1), without the batch norm that ours has.
        dim: Width of the projection; 128 (section 3.1).
        temperature: Divides the cosine similarities; 0.1 (the authors' scripts for ImageNet).
        form: Whether a view's positives are averaged outside the logarithm, "out" (eq. 2), or inside, "in" (eq. 3);
            out, the better of the two (section 3.2).
    """

    views = Views(large=2, labels=True)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 128,
        temperature: float = 0.1,
        form: Literal["out", "in"] = "out",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, dim)
        self.temperature, self.form = temperature, form

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        assert batch.target is not None
        r = normalize(self.encoder(torch.cat(batch.views)))  # (2N, D), of length 1 (section 3.1)
        z1, z2 = self.project(r).chunk(2)
        return z1, z2, batch.target

    def compare(self, z1: Tensor, z2: Tensor, labels: Tensor) -> Tensor:
        return supcon(torch.cat((z1, z2)), labels.repeat(2), temperature=self.temperature, form=self.form)
