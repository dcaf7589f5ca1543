"""The contrastive losses: a softmax in which the positive has to beat the negatives.

Each is softplus(log-sum-exp of the negatives - positive), averaged over anchors: a cross entropy that keeps its
precision where it is nearly solved. All are exact at any batch size in O(N D) memory (`losses.tiled`). They take
embeddings that are not yet normalised, and a temperature that is a number or a scalar tensor that learns. Two arguments
name false negatives: samples with equal `ids` (N,) (labels, say, or the identity of a text that occurs twice) and pairs
whose cosine is above `bound` are not negatives of each other.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from twinlens.errors import InputError
from twinlens.losses import inputs
from twinlens.losses.inputs import unit
from twinlens.losses.tiled import Pairs, log_sum_exp


def nt_xent(
    z1: Tensor, z2: Tensor, *, temperature: float | Tensor, ids: Tensor | None = None, bound: float | None = None
) -> Tensor:
    """Normalised temperature-scaled cross entropy of two views (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    Rows i of `z1` and `z2`, both (N, D), are views of one sample. Each of the 2N rows has to find its partner among the
    other 2N - 1. Returns the mean over rows; log(2N - 1) is chance. Raises InputError, a ValueError.
    """
    z, positives, pairs = _two_views(z1, z2, temperature, ids, bound)
    negatives, _ = log_sum_exp(z, None, pairs)
    return softplus(negatives - positives).mean()


def _two_views(
    z1: Tensor, z2: Tensor, temperature: float | Tensor, ids: Tensor | None = None, bound: float | None = None
) -> tuple[Tensor, Tensor, Pairs]:
    """2N rows (2N, D) whose inner products are logits, the logit (2N,) of each with its partner, and the negatives."""
    z1, z2 = inputs.embeddings(z1=z1, z2=z2)
    z = unit(torch.cat((z1, z2))) * inputs.temperature(temperature) ** -0.5
    first, second = z.chunk(2)
    return z, (first * second).sum(1).repeat(2), _others(z1, ids, _limit(bound, temperature), views=2)


def _others(z: Tensor, ids: Tensor | None, limit: float, *, views: int) -> Pairs:
    """The negatives among `views` times N rows: those of other samples, or of other ids where there are any."""
    if ids is None:
        return Pairs(below=limit, period=len(z))
    identity = inputs.ids("ids", ids, z).repeat(views)
    return Pairs(identity, identity, below=limit)


def _limit(bound: float | None, temperature: float | Tensor) -> float:
    """The largest logit of a negative, given the largest cosine."""
    return math.inf if bound is None else bound / inputs.number(temperature)


def decoupled(
    z1: Tensor, z2: Tensor, *, temperature: float | Tensor, sigma: float | None = None, ids: Tensor | None = None,
    bound: float | None = None,
) -> Tensor:  # fmt: skip
    """Decoupled contrastive loss: NT-Xent without the positive in the denominator (Yeh et al. 2022, arXiv 2110.06848).

    With `sigma` (the paper's 0.5) each positive weighs 2 - exp(cos / sigma) / mean exp(cos / sigma), so that pairs
    still far apart pull harder (DCLW); the weights take gradient, which lightly's form stops. `z1`, `z2` (N, D) as in
    `nt_xent`. The mean over rows that have a negative; it is not bounded from below.
    """
    z, positives, pairs = _two_views(z1, z2, temperature, ids, bound)
    negatives, _ = log_sum_exp(z, None, pairs)
    weight: float | Tensor = 1.0
    if sigma is not None:
        cosine = positives * temperature
        weight = 2 - len(cosine) * (cosine / inputs.positive("sigma", sigma)).softmax(0)
    some = negatives.isfinite()
    return (negatives.where(some, 0) - weight * positives).where(some, 0).sum() / some.sum().clamp_min(1)


def reweighted(
    z1: Tensor, z2: Tensor, *, temperature: float | Tensor, hardness: float = 1.0, prior: float = 0.1
) -> Tensor:
    """NT-Xent whose negatives count by their hardness and are corrected for hidden positives among them.

    A negative weighs exp(`hardness` times its logit), relative to the mean (Robinson et al. 2021, arXiv 2010.04592, eq.
    4 and 5; they take 0.5 to 2). `prior` is the share of samples of the anchor's own class, whose expected part is
    subtracted (Chuang et al. 2020, arXiv 2007.00224, eq. 7 and 8); the sum is kept above exp(-1 / temperature) a
    negative. With hardness 0 and prior 0 this is `nt_xent`.
    """
    if not (hardness >= 0 and 0 <= prior < 1):
        raise InputError(f"hardness is {hardness} and prior {prior}: expected 0 or more, and a share in [0, 1).")
    z, positives, pairs = _two_views(z1, z2, temperature)
    size = len(z) - 2  # negatives of a row
    negatives, _ = log_sum_exp(z * (1 + hardness) ** 0.5, None, pairs)
    if hardness:
        weights, _ = log_sum_exp(z * hardness**0.5, None, pairs)
        negatives = negatives - weights + math.log(size)
    if prior:
        hidden = (math.log(prior * size) + positives - negatives).clamp_max(0).exp()  # their share of the sum
        negatives = negatives + ((1 - hidden).clamp_min(1e-30) / (1 - prior)).log()
        negatives = torch.maximum(
            negatives, torch.as_tensor(math.log(size) - 1 / temperature, dtype=z.dtype, device=z.device)
        )
    return softplus(negatives - positives).mean()


def info_nce(
    query: Tensor, positive: Tensor, negatives: Tensor | None = None, *, temperature: float | Tensor,
    in_batch: bool | None = None, ids: Tensor | None = None, negative_ids: Tensor | None = None,
    bound: float | None = None,
) -> Tensor:  # fmt: skip
    """InfoNCE: each query finds its positive among negatives (van den Oord et al. 2018, arXiv 1807.03748, eq. 4).

    `query` (N, D); `positive` (N, D), or (N, P, D) for several positives, each of which is compared with the negatives
    alone. `negatives` (K, D) are shared by all queries (a queue: He et al. 2020, arXiv 1911.05722, eq. 1), (N, K, D)
    are each query's own (mined). The other queries' positives are negatives too with `in_batch`, by default where no
    negatives are given. Samples of equal `ids` (N,), and of `negative_ids` (K,) or (N, K), are no negatives of each
    other. Returns the mean over queries and positives.
    """
    (query,) = inputs.embeddings(2 if negatives is None else 1, query=query)
    positive = inputs.floating("positive", positive).to(query.dtype)
    if positive.ndim not in (2, 3) or (positive.shape[0], positive.shape[-1]) != query.shape or not positive.numel():
        raise InputError(
            f"positive has shape {tuple(positive.shape)}: expected {tuple(query.shape)}, as query has, or "
            f"({len(query)}, P, {query.shape[1]})."
        )
    identity, limit = inputs.ids("ids", ids, query), _limit(bound, inputs.temperature(temperature))
    q = unit(query) / temperature
    p = unit(positive if positive.ndim == 3 else positive[:, None])  # (N, P, D)
    rivals = []
    if negatives is None or in_batch:
        others = identity.repeat_interleave(p.shape[1])
        rivals.append(log_sum_exp(q, p.flatten(0, 1), Pairs(identity, others, below=limit))[0])
    if negatives is not None:
        rivals.append(_against(q, negatives, identity, negative_ids, limit))
    all_ = rivals[0] if len(rivals) == 1 else torch.logaddexp(*rivals)
    return softplus(all_[:, None] - (q[:, None] * p).sum(-1)).mean()


def _against(q: Tensor, negatives: Tensor, ids: Tensor, others: Tensor | None, limit: float) -> Tensor:
    """Log-sum-exp (N,) over shared negatives (K, D) or own ones (N, K, D), without those of the same id."""
    negatives = inputs.floating("negatives", negatives).to(q.dtype)
    n, d = q.shape
    if negatives.shape not in ((len(negatives), d), (n, negatives.shape[-2], d)) or not negatives.numel():
        raise InputError(f"negatives has shape {tuple(negatives.shape)}: expected (K, {d}) or ({n}, K, {d}).")
    if others is not None and others.shape != negatives.shape[:-1]:
        raise InputError(
            f"negative_ids has shape {tuple(others.shape)}: expected {tuple(negatives.shape[:-1])}, as negatives has."
        )
    if negatives.ndim == 2:
        pairs = Pairs(below=limit) if others is None else Pairs(ids, others.to(ids.device), below=limit)
        return log_sum_exp(q, unit(negatives), pairs)[0]
    s = (unit(negatives) @ q[:, :, None]).squeeze(2)  # (N, K)
    hidden = s > limit
    if others is not None:
        hidden = hidden | (others.to(ids.device) == ids[:, None])
    return s.masked_fill(hidden, -torch.inf).logsumexp(1)


def clip(
    a: Tensor, b: Tensor, *, temperature: float | Tensor, ids: Tensor | None = None, bound: float | None = None
) -> Tensor:
    """The symmetric form for pairs of two kinds (Radford et al. 2021, arXiv 2103.00020, figure 3).

    Rows i of `a` and `b`, both (N, D), belong together; every other row of the other kind is a negative. The mean of
    both directions' InfoNCE; log(N) is chance.
    """
    a, b = inputs.embeddings(a=a, b=b)
    pairs = _others(a, ids, _limit(bound, inputs.temperature(temperature)), views=1)
    a, b = unit(a) / temperature, unit(b)
    rows, columns = log_sum_exp(a, b, pairs)
    positives = (a * b).sum(1)
    return (softplus(rows - positives).mean() + softplus(columns - positives).mean()) / 2
