"""How likely views are under what a decoder says of them, and how far what an encoder says is from the prior: in nats.

Views x (N, ...) fill [-2, 2], and what is said of them has their shape. The numbers of a sample are independent given
its code, so that its nats (N,) are the sum of theirs.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from twinlens.errors import InputError
from twinlens.losses.inputs import floating

Likelihood = Literal["gaussian", "bernoulli", "logistic"]

_MOST = 30.0  # logarithms of deviations are held within so far of 0: beyond, squares leave float32


def nats(kind: Likelihood, said: Tensor, x: Tensor, log_scale: float | Tensor = 0.0) -> Tensor:
    """-log p(x) of each sample by what a decoder said of it, of that kind: (N,). A Bernoulli has no scale."""
    if kind == "bernoulli":
        return bernoulli(said, x)
    return discretised_logistic(said, log_scale, x) if kind == "logistic" else gaussian(said, x, log_scale)


def drawn(kind: Likelihood, said: Tensor) -> Tensor:
    """The view that a decoder means by what it said: the mean, or the likeliest level."""
    if kind == "bernoulli":
        return 4 * said.sigmoid() - 2
    return said.clamp(-2, 2) if kind == "logistic" else said  # the outermost levels have no end


def gaussian(mean: Tensor, x: Tensor, log_deviation: float | Tensor) -> Tensor:
    """-log N(x; mean, deviation^2), a density, so that there may be less than 0 nats: (N,).

    `log_deviation` is one number, or several that broadcast to x.
    """
    mean, x = _alike(mean=mean, x=x)
    s = _bounded(log_deviation, mean)
    z = (x - mean) * (-s).exp()
    return (z.square() / 2 + s + math.log(2 * math.pi) / 2).flatten(1).sum(1)


def bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """The cross-entropy of x, as a probability of white, and the probability that `logits` say: (N,).

    It is -log p(x) where x is black or white; greys are taken for probabilities, as is widely done, although they then
    have no likelihood (Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845). Beyond [-2, 2], x counts as the nearest end.
    """
    logits, x = _alike(logits=logits, x=x)
    nats = F.binary_cross_entropy_with_logits(logits, ((x + 2) / 4).clamp(0, 1), reduction="none")
    return nats.flatten(1).sum(1)


def discretised_logistic(mean: Tensor, log_scale: float | Tensor, x: Tensor, levels: int = 256) -> Tensor:
    """-log of the mass that a logistic distribution has in the part of [-2, 2], cut into `levels`, where x lies: (N,).

    Salimans et al. 2017, "PixelCNN++", arXiv 1701.05517, section 2.1 (equation 2, of a mixture of one): the lowest part
    reaches down to minus infinity and the highest up to infinity, so that the masses of all sum to 1.
    """
    if levels < 2:
        raise InputError(f"levels is {levels}: expected 2 or more parts of [-2, 2].")
    mean, x = _alike(mean=mean, x=x)
    inverse = (-_bounded(log_scale, mean)).exp()
    width = 4 / levels
    level = ((x + 2) / width).floor().clamp(0, levels - 1)
    a = (level * width - 2 - mean) * inverse  # where the part begins, and where it ends
    b = ((level + 1) * width - 2 - mean) * inverse
    # sigmoid(b) - sigmoid(a) = sigmoid(b) * sigmoid(-a) * (1 - exp(a - b)), without a difference of what may be equal.
    both = (-torch.expm1(-width * inverse)).log().expand_as(x)
    lowest, highest = level == 0, level == levels - 1
    upper, lower = F.softplus(-b).masked_fill(highest, 0.0), F.softplus(a).masked_fill(lowest, 0.0)
    return (upper + lower - both.masked_fill(lowest | highest, 0.0)).flatten(1).sum(1)


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each dimension: (N, d), (N, d) -> (N, d).

    Kingma & Welling 2014, "Auto-encoding variational Bayes", arXiv 1312.6114, appendix B.
    """
    mean, log_variance = _alike(mean=mean, log_variance=log_variance)
    log_variance = log_variance.clamp(max=2 * _MOST)
    return (mean.square() + torch.expm1(log_variance) - log_variance) / 2


def _alike(**given: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors at float32 or above; InputError if they differ in shape, which would be broadcast unnoticed."""
    (one, a), (two, b) = given.items()
    if a.shape != b.shape:
        raise InputError(f"{one} has shape {tuple(a.shape)} and {two} {tuple(b.shape)}: give both the same shape.")
    return floating(one, a), floating(two, b)


def _bounded(log: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(log, dtype=like.dtype, device=like.device).clamp(-_MOST, _MOST)
