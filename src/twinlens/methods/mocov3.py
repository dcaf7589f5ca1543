"""MoCo v3: each view's prediction finds what a slow copy says of the other view, among the whole batch."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses import info_nce
from twinlens.method import Method
from twinlens.update.schedules import cosine
from twinlens.update.slow import follow, slow_copy


class MoCoV3(Method):
    """Chen, Xie, He 2021, "An empirical study of training self-supervised vision transformers".

    arXiv 2104.02057, algorithm 1 and section 5. The frozen patch projection of section 4.2 is left to the encoder.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D; it is trained in place, the slow copy is ours.
        hidden: Width of the hidden layers of projector and predictor; 4096 (section 5, "MLP heads").
        dim: Width of query and key; 256 (section 5, "MLP heads").
        momentum: The slow copy's momentum at the start, which rises to 1 along a cosine; 0.99 (section 5).
        temperature: Divides the cosine similarities; 0.2 (section 5, "loss").
    """

    views = Views(large=2, strength="asymmetric")

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 4096,
        dim: int = 256,
        momentum: float = 0.99,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        self.query = nn.Sequential(encoder, mlp(dim_of(encoder), hidden, hidden, dim, norm_output=True))
        self.predict = mlp(dim, hidden, dim, norm_output=True)
        self.key = slow_copy(self.query)
        self.momentum, self.temperature = momentum, temperature

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        q1, q2 = (self.predict(self.query(view)) for view in batch.views)  # (N, dim)
        with torch.no_grad():
            k1, k2 = (self.key(view) for view in batch.views)  # (N, dim)
        return q1, q2, k1, k2

    def compare(self, q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor) -> Tensor:
        tau = self.temperature
        return 2 * tau * (info_nce(q1, k2, temperature=tau) + info_nce(q2, k1, temperature=tau))

    def update(self, progress: float, *parts: Tensor) -> None:
        follow(self.key, self.query, momentum=cosine(progress, self.momentum, 1.0))
