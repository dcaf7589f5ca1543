"""Where embeddings lie: views of a sample beside one another, samples apart, and two encoders' embeddings compared."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.monitor.spectrum import effective_rank


def alignment(z1: Tensor, z2: Tensor) -> float:
    """The mean squared distance of two views of a sample, L2-normalised: 0 (one place) to 4 (opposite).

    Wang and Isola 2020, "Understanding contrastive representation learning", arXiv 2005.10242, section 4.1, alpha = 2.
    """
    return float((_unit(z1) - _unit(z2)).square().sum(dim=1).mean())


def uniformity(z: Tensor, *, t: float = 2) -> float:
    """The logarithm of the mean of exp(-t |x - y|^2) over pairs of samples, L2-normalised: 0 at complete collapse.

    Wang and Isola 2020, section 4.1; the lower, the more evenly `z` (N, D) covers the sphere. -t where pairs are
    orthogonal on average, so about -2 t times the mean of half the squared distance.
    """
    return float(torch.pdist(_unit(z)).square().mul(-t).exp().mean().log())


def anisotropy(z: Tensor) -> float:
    """The mean cosine of two different samples of `z` (N, D): 1 where all lie in one direction, about 0 where in all.

    Ethayarajh 2019, "How contextual are contextualized word representations?", arXiv 1909.00512, section 3.3, over all
    pairs instead of some: the squared length of the sum of unit vectors is the sum over pairs. Below 0, down to
    -1 / (N - 1), where samples are pushed apart; NaN of less than two.
    """
    unit, n = _unit(z), len(z)
    both = unit.sum(dim=0).square().sum() - unit.square().sum()
    return float(both / (n * (n - 1))) if n > 1 else math.nan


def lidar(z: Tensor, *, delta: float = 1e-4, eps: float = 1e-7) -> float:
    """LiDAR: the effective rank of what tells samples apart, measured in what tells views of a sample apart.

    `z` (N, V, D) holds V views of each of N clean samples, a class each. The eigenvalues of Sw^-1/2 Sb Sw^-1/2 take the
    place that singular values have in RankMe; `delta` is added to the diagonal of Sw. From 1 to min(N - 1, D).
    Thilak et al. 2023, "LiDAR", arXiv 2312.04000, section 4.
    """
    z = z.detach().double()
    mean = z.mean(dim=1)  # (N, D)
    within = (z - mean[:, None]).flatten(0, 1)
    between = mean - mean.mean(dim=0)
    s_w = within.T @ within / len(within) + delta * torch.eye(z.shape[2], dtype=z.dtype, device=z.device)
    half = torch.linalg.solve_triangular(torch.linalg.cholesky(s_w), between.T, upper=False)  # (D, N)
    # L^-1 Sb L^-T has the eigenvalues of Sw^-1/2 Sb Sw^-1/2: both are those of Sw^-1 Sb
    small = half @ half.T if z.shape[2] <= len(z) else half.T @ half
    return effective_rank(torch.linalg.eigvalsh(small / len(z)).clamp_min(0), eps=eps)


def cka(a: Tensor, b: Tensor) -> float:
    """How alike two encoders' embeddings of the same samples are, (N, D) and (N, E): linear CKA, 0 to 1.

    1 where one is a rotation and a scaling of the other. Kornblith et al. 2019, "Similarity of neural network
    representations revisited", arXiv 1905.00414, section 3. 0 where one of them is constant.
    """
    a, b = (x.detach().double() - x.detach().double().mean(dim=0) for x in (a, b))
    norms = torch.linalg.norm(a.T @ a) * torch.linalg.norm(b.T @ b)
    return float((a.T @ b).square().sum() / norms) if norms > 0 else 0.0


def perplexity(assignment: Tensor, clusters: int) -> float:
    """How many of the clusters are in use: exp of the entropy of their shares of `assignment` (N,) int64."""
    share = assignment.bincount(minlength=clusters).double() / len(assignment)
    return float(torch.special.entr(share).sum().exp())


def _unit(z: Tensor) -> Tensor:
    return normalize(z.detach().double())
