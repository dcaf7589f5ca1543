"""Agreement and spread on the unit sphere, as losses and as measures."""

import math

import torch
from torch import Tensor

from twinlens.losses import inputs
from twinlens.losses.inputs import unit
from twinlens.losses.tiled import Pairs, log_sum_exp
from twinlens.nearest import top_k


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """-cos of rows i of `p` and `z`, both (N, D): the mean over rows (Chen and He 2021, arXiv 2011.10566, eq. 1).

    Both sides take gradient; a method that stops one detaches it.
    """
    p, z = inputs.embeddings(1, p=p, z=z)
    return -(unit(p) * unit(z)).sum(1).mean()


def alignment(z1: Tensor, z2: Tensor, *, alpha: float = 2.0) -> Tensor:
    """Mean distance, to the power `alpha`, of the unit vectors of two views (Wang and Isola 2020, arXiv 2005.10242).

    Section 4.1.2, with their alpha; `z1`, `z2` (N, D). 0 where views coincide, at most 2^alpha.
    """
    z1, z2 = inputs.embeddings(1, z1=z1, z2=z2)
    squares = (unit(z1) - unit(z2)).square().sum(1)
    return (squares if alpha == 2 else squares.clamp_min(1e-24) ** (alpha / 2)).mean()


def uniformity(z: Tensor, *, t: float = 2.0) -> Tensor:
    """Log of the mean Gaussian potential of all pairs on the sphere (Wang and Isola 2020, arXiv 2005.10242).

    Section 4.1.2, with their t: log mean over i != j of exp(-t |u_i - u_j|^2), for the unit vectors of `z` (N, D). 0 at
    complete collapse; the more negative, the more evenly spread.
    """
    (z,) = inputs.embeddings(z=z)
    rows, _ = log_sum_exp(unit(z) * math.sqrt(2 * inputs.positive("t", t)), None, Pairs())
    return rows.logsumexp(0) - math.log(len(z) * (len(z) - 1)) - 2 * t


def koleo(z: Tensor) -> Tensor:
    """-log of the distance from each unit vector of `z` (N, D) to the nearest other: the mean over rows.

    The regulariser of Sablayrolles et al. 2019, arXiv 1806.03198, after the entropy of Kozachenko and Leonenko: lower,
    the more evenly spread. Both ends of a distance take gradient; where it is 0, which has no direction, none.
    """
    (z,) = inputs.embeddings(z=z)
    u = unit(z)
    first, second = top_k(u, u, 2)[1].unbind(1)
    nearest = torch.where(first == torch.arange(len(u), device=u.device), second, first)
    distance: Tensor = torch.linalg.vector_norm(u - u[nearest], dim=1)
    return -(distance + 1e-8).log().mean()  # finite where rows coincide (DINOv2's code)
