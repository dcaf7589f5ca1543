"""VICReg: views agree, every dimension varies, no two dimensions say the same."""

from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.method import Method


def hinge_of_deviation(z: Tensor) -> Tensor:
    """How far each dimension's standard deviation falls short of 1, on average: (N, D) -> scalar (eq. 1, 2)."""
    return F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()


def off_diagonal_covariance(z: Tensor) -> Tensor:
    """The squared covariances between dimensions, summed over pairs and divided by D: (N, D) -> scalar (eq. 3, 4)."""
    covariance = z.T.cov()  # (D, D)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


class VICReg(Method):
    """Bardes, Ponce, LeCun 2022, "VICReg: variance-invariance-covariance regularization for self-supervised learning".

    arXiv 2105.04906, section 4.1.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the expander's three layers; 8192 (section 4.2).
        invariance: Weight of the agreement of views; 25 (section 4.2).
        variance: Weight of the hinge on each dimension's deviation; 25 (section 4.2).
        covariance: Weight of the decorrelation; 1 (section 4.2).
    """

    views = Views(large=2)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 8192,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.expander = mlp(dim_of(encoder), hidden, hidden, hidden)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z1, z2 = (self.expander(self.encoder(view)) for view in batch.views)
        return z1, z2

    def compare(self, z1: Tensor, z2: Tensor) -> Tensor:
        s = F.mse_loss(z1, z2)
        v = hinge_of_deviation(z1) + hinge_of_deviation(z2)
        c = off_diagonal_covariance(z1) + off_diagonal_covariance(z2)
        return self.invariance * s + self.variance * v + self.covariance * c
