"""BYOL: predict what a slow copy of the network says of the other view; no negatives."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses import negative_cosine
from twinlens.method import Method
from twinlens.rate import Rate, with_rate
from twinlens.update.schedules import cosine
from twinlens.update.slow import follow, slow_copy


class BYOL(Method):
    """Grill et al. 2020, "Bootstrap your own latent: a new approach to self-supervised learning".

    arXiv 2006.07733, section 3 and algorithm 1.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D; it is trained in place, the slow copy is ours.
        hidden: Width of the hidden layer of projector and predictor; 4096 (section 3.3).
        dim: Width of projection and prediction; 256 (section 3.3).
        momentum: The slow copy's momentum at the start, which rises to 1 along a cosine; 0.996 (section 3.3).
        predictor_rate: Factor of the predictor's learning rate; 1. A faster predictor can do without a slow copy
            (`momentum` 0; appendix I).
    """

    views = Views(large=2, strength="asymmetric")

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 4096,
        dim: int = 256,
        momentum: float = 0.996,
        predictor_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.online = nn.Sequential(encoder, mlp(dim_of(encoder), hidden, dim))
        self.predict = with_rate(mlp(dim, hidden, dim), Rate(factor=predictor_rate))
        self.target = slow_copy(self.online)
        self.momentum = momentum

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        p1, p2 = (self.predict(self.online(view)) for view in batch.views)
        with torch.no_grad():
            t1, t2 = (self.target(view) for view in batch.views)
        return p1, p2, t1, t2

    def compare(self, p1: Tensor, p2: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
        return 2 * (2 + negative_cosine(p1, t2) + negative_cosine(p2, t1))  # squared distances of unit vectors (eq. 2)

    def update(self, progress: float, *parts: Tensor) -> None:
        follow(self.target, self.online, momentum=cosine(progress, self.momentum, 1.0))
