"""How many dimensions the embeddings use: the spectrum of z (N, D), and numbers that sum it up.

All is computed in float64: collapse shows in the small singular values, where float32 has only noise.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def spread(z: Tensor) -> float:
    """sqrt(D) times the mean over dimensions of the deviation of L2-normalised `z` (Chen and He 2021, section 4.1).

    About 1 where directions are isotropic (they report it unscaled, 1 / sqrt(D) where healthy), 0 at complete collapse.
    """
    return float(normalize(z.detach().double()).std(dim=0, correction=0).mean() * z.shape[1] ** 0.5)


def rankme(z: Tensor, *, eps: float = 1e-7) -> float:
    """The effective rank of `z`: exp of the entropy of its singular values (Garrido et al. 2023, equations 1 and 2).

    From 1 (all on one line) to min(N, D). As in the paper, `z` is not centred, and eps is added to each share. Singular
    values are roots of the smaller Gram matrix's eigenvalues, exact to 1e-8 of the largest: an order below eps, and
    several times as fast.
    """
    z = z.detach().double()
    gram = z.T @ z if z.shape[0] >= z.shape[1] else z @ z.T
    return effective_rank(torch.linalg.eigvalsh(gram).clamp_min(0).sqrt(), eps=eps)


def effective_rank(values: Tensor, *, eps: float = 1e-7) -> float:
    """exp of the entropy of the shares that non-negative `values` (D,) have of their sum; 1 where all are zero."""
    share = values / values.sum().clamp_min(1e-300) + eps  # all zero is complete collapse too: rank 1
    return float((-(share * share.log()).sum()).exp())


def spectrum(z: Tensor) -> Tensor:
    """The eigenvalues of the covariance of `z`, descending: (N, D) -> (D,) float64."""
    centred = z.detach().double() - z.detach().double().mean(dim=0)
    values: Tensor = torch.linalg.eigvalsh(centred.T @ centred / len(z))
    return values.flip(0).clamp_min(0)


def alpha_req(z: Tensor, *, first: int = 11, last: int = 100) -> float:
    """alpha, where eigenvalue i of the covariance falls like i^-alpha (Agrawal et al. 2022, "alpha-ReQ", NeurIPS).

    Minus the slope of a least-squares line through logarithms, over places `first` to `last` (to the last eigenvalue
    that is not nothing, if that comes earlier); the paper finds representations good near 1. The first places are left
    out, as by Stringer et al. 2019, from whom the fit comes. NaN where fewer than three places are left.
    """
    values = spectrum(z)
    values = values[: min(last, int((values > 1e-12 * values[0]).sum()))][first - 1 :]
    if len(values) < 3:
        return float("nan")
    place = torch.arange(first, first + len(values), dtype=torch.float64).log()
    place, log = place - place.mean(), values.cpu().log()
    return -float((place @ log) / (place @ place))


def dead(z: Tensor, *, below: float = 1e-3) -> float:
    """The share of dimensions whose deviation is less than `below` times the largest one's; 1 where nothing varies."""
    deviation = z.detach().double().std(dim=0, correction=0)
    largest = deviation.max()
    return float((deviation <= below * largest).double().mean())
