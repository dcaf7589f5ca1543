"""LeJEPA: all views predict the mean of the large ones, while embeddings are held to an isotropic Gaussian."""

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses.inputs import unit
from twinlens.method import Method


def epps_pulley(x: Tensor, *, points: int, reach: float) -> Tensor:
    """How far each column of `x` (N, ...) is from N(0, 1): the statistic of Epps and Pulley (section 4.2.3), (...).

    N times the integral over t in [-`reach`, `reach`] of |mean of exp(itx) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), by the
    trapezoid rule with `points` points (algorithm 1). The integrand is even, and 0 at t = 0, so that fewer than half
    of the points are computed.
    """
    t = torch.linspace(-reach, reach, points, device=x.device, dtype=x.dtype)[(points + 1) // 2 :]  # (T,), above 0
    weight = torch.full_like(t, 2 * 2 * reach / (points - 1))  # twice the step, for t and -t
    weight[-1] /= 2
    phi = torch.exp(-t.square() / 2)  # the characteristic function of N(0, 1), and the window
    xt = x[..., None] * t  # (N, ..., T)
    error = (xt.cos().mean(dim=0) - phi).square() + xt.sin().mean(dim=0).square()  # (..., T)
    return len(x) * (error @ (weight * phi))


class LeJEPA(Method):
    """Balestriero, LeCun 2025, "LeJEPA: provable and scalable self-supervised learning without the heuristics".

    arXiv 2511.08544, section 5.1 and algorithms 1 and 2; eight views of which two are large ("experiment details 1").

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projector's two hidden layers; 2048 (authors' code; the paper names none).
        dim: K, the width of the embeddings; 64 (table 1d).
        trade_off: lambda, the weight of the Gaussian beside the prediction's 1 - lambda; 0.05 (section 6.1).
        slices: Directions along which embeddings are tested, drawn anew in each step; 1024 (section 6.1).
        points: Of the quadrature; 17 (section 6.1).
        reach: Half of the domain of integration; 5 (section 6.1).
    """

    views = Views(large=2, small=6)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 64,
        trade_off: float = 0.05,
        slices: int = 1024,
        points: int = 17,
        reach: float = 5.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, hidden, dim)
        self.trade_off, self.slices, self.points, self.reach = trade_off, slices, points, reach
        self.step: Tensor
        self.register_buffer("step", torch.tensor(0))  # draws are counted by it: the same in all processes

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        h = torch.cat([self.encoder(views) for views in batch.by_size()])  # (VN, D): a forward for each size
        return (self.project(h).unflatten(0, (len(batch.views), -1)).transpose(0, 1),)  # (N, V, K)

    def compare(self, z: Tensor) -> Tensor:
        mu = z[:, : self.views.large].mean(dim=1, keepdim=True)  # (N, 1, K)
        # The mean over K is algorithm 2's, with which lambda is published; section 5.1's equation writes the sum.
        prediction = (mu - z).square().mean()
        sigreg = epps_pulley(z @ self.directions(z), points=self.points, reach=self.reach).mean()  # of (V, slices)
        return (1 - self.trade_off) * prediction + self.trade_off * sigreg

    def directions(self, z: Tensor) -> Tensor:
        """This step's random unit vectors (K, slices), the same for all views."""
        a = random.normal(random.keys(0, 0, self.step[None]), self.slices, z.shape[-1])[0]
        return unit(a).T.to(z)

    def update(self, progress: float, z: Tensor) -> None:
        self.step += 1
