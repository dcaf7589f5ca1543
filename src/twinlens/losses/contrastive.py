"""The contrastive losses: a softmax over the batch that has to find the positive."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(z1: Tensor, z2: Tensor, *, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy of two views (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    Rows i of `z1` and `z2`, both (N, D) and not yet normalised, are views of one sample. Each of the 2N rows has to
    find its partner among the other 2N - 1. Returns the mean over rows; log(2N - 1) is chance.
    """
    n = len(z1)
    z = F.normalize(torch.cat((z1, z2)), dim=1)  # (2N, D)
    logits = z @ z.T / temperature  # (2N, 2N)
    logits.fill_diagonal_(-torch.inf)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, partner)
