"""SimSiam: predict one view's projection from the other's; a stopped gradient alone prevents collapse."""

from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses import negative_cosine
from twinlens.method import Method
from twinlens.rate import Rate, with_rate


class SimSiam(Method):
    """Chen, He 2021, "Exploring simple Siamese representation learning".

    arXiv 2011.10566, section 3 and algorithm 1.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projector's two hidden layers; 2048 (section 3, "projection MLP").
        dim: Width of projection and prediction; 2048 (section 3, "prediction MLP").
        bottleneck: Width of the predictor's hidden layer, a quarter of dim; 512 (section 3, "prediction MLP").
        fixed_predictor: Keep the predictor's learning rate at its peak, whatever the schedule; true (section 4.2).
    """

    views = Views(large=2)
    coupled = False

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 2048,
        bottleneck: int = 512,
        fixed_predictor: bool = True,
    ) -> None:
        super().__init__()
        self.f = nn.Sequential(encoder, mlp(dim_of(encoder), hidden, hidden, dim, norm_output=True))
        h = mlp(dim, bottleneck, dim)  # no norm on its output: with one, training is unstable (table 3)
        self.h = with_rate(h, Rate(fixed=fixed_predictor))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z1, z2 = (self.f(view) for view in batch.views)  # (N, dim)
        p1, p2 = self.h(z1), self.h(z2)
        return p1, p2, z1, z2

    def compare(self, p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        return negative_cosine(p1, z2.detach()) / 2 + negative_cosine(p2, z1.detach()) / 2  # eq. 4
