"""How many dimensions the embeddings use: the spectrum of z (N, D), and two numbers that sum it up.

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

    From 1 (all on one line) to min(N, D). As in the paper, `z` is not centred, and eps is added to each share.
    """
    values = torch.linalg.svdvals(z.detach().double())
    share = values / values.sum().clamp_min(1e-300) + eps  # all zero is complete collapse too: rank 1
    return float((-(share * share.log()).sum()).exp())


def spectrum(z: Tensor) -> Tensor:
    """The eigenvalues of the covariance of `z`, descending: (N, D) -> (D,) float64."""
    centred = z.detach().double() - z.detach().double().mean(dim=0)
    values: Tensor = torch.linalg.eigvalsh(centred.T @ centred / len(z))
    return values.flip(0).clamp_min(0)
