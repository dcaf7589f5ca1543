"""From one part of a pair to the other: does a picture find its caption among all, and the caption its picture?

Recall at k in both directions as in Faghri et al. 2018, "VSE++", arXiv 1707.05612, and Radford et al. 2021, arXiv
2103.00020: the share of queries with something relevant among the k nearest.
"""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate.baselines import CHANCE
from twinlens.evaluate.inputs import Features, as_features
from twinlens.evaluate.ranking import check_ks, dcg, discounts
from twinlens.evaluate.result import Result, known, scored
from twinlens.nearest import top_k

_AT_ONCE = 2**22  # similarities, of one query at least
_DEPTH = 10  # of nDCG


def crossing(
    first: Features,
    second: Features,
    *,
    ids: ArrayLike | None = None,
    ks: Sequence[int] = (1, 5, 10),
    names: tuple[str, str] = ("first", "second"),
) -> list[Result]:
    """Recall at each of `ks`, MRR and nDCG@10, from first (N, D) to second (N, D) by cosine, then the other way.

    Row i of both is a pair. Pairs of equal `ids` (N,), of one caption or one picture, are all relevant to one another;
    without `ids` a query has its own pair alone. MRR is the mean of 1 / the rank of the first relevant one (Voorhees
    1999); nDCG as in `ranking`. Of equal similarities the lower index comes first.

    Beside each stands chance: its expectation over all orders, known rather than measured. The intervals are over
    queries, for the other part as it is; they take as independent what shares an id.

    Raises:
        InputError: where shapes do not fit together, a feature is not finite, or a k is not among 1 to N.
    """
    a = as_features(names[0], first)
    b = as_features(names[1], second, a)
    y = torch.arange(len(a)) if ids is None else torch.as_tensor(ids)
    if len(a) != len(b) or y.shape != (len(a),):
        raise InputError(
            f"{len(a)} {names[0]} and {len(b)} {names[1]} features with ids of shape {tuple(y.shape)}: expected N, N "
            "and (N,); give two rows of features and one id for each pair."
        )
    check_ks(ks, len(a))
    y = y.unique(return_inverse=True)[1].to(a.device)
    count = y.bincount()[y].cpu()  # relevant to each query
    levels = _chance(count, ks)
    settings = {"similarity": "cosine", "queries": len(a), "ids": int(y.max()) + 1}
    a, b = normalize(a), normalize(b)
    results = []
    for query, bank, way in ((a, b, f"{names[0]} to {names[1]}"), (b, a, f"{names[1]} to {names[0]}")):
        measured = _measured(query, bank, y, count, ks)
        for (name, level), scores in zip(levels.items(), measured):
            result = scored(f"{way} {name}", scores, settings)
            results.append(result.beside({CHANCE: known(CHANCE, level)}))
    return results


def _measured(query: Tensor, bank: Tensor, y: Tensor, count: Tensor, ks: Sequence[int]) -> list[Tensor]:
    """What each query scores, (N,) for each k, for MRR and for nDCG."""
    index = top_k(query, bank, max(*ks, _DEPTH))[1]
    relevant = (y[index] == y[:, None]).cpu()  # (N, k)
    rank = relevant.int().argmax(1) + 1
    late = (~relevant.any(1)).nonzero()[:, 0]
    rank[late] = _first(query, bank, y, late.to(y.device)).cpu().clamp_min(relevant.shape[1] + 1)
    depth = min(_DEPTH, relevant.shape[1])
    gain = dcg(relevant[:, :depth]) / discounts(depth).cumsum(0)[count.clamp_max(depth) - 1]
    return [*(rank <= k for k in ks), 1 / rank, gain]


def _first(query: Tensor, bank: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """The rank of the first relevant row of the bank, from 1, of the queries in `rows` (m,): (m,), by counting."""
    ranks = [torch.zeros(0, dtype=torch.int64, device=y.device)]
    for some in rows.split(max(1, _AT_ONCE // len(bank))):
        similarity = query[some] @ bank.T  # (m, N)
        best, place = similarity.where(y[some, None] == y, -torch.inf).max(1, keepdim=True)
        before = torch.arange(len(bank), device=y.device) < place
        ranks.append(1 + (similarity > best).sum(1) + ((similarity == best) & before).sum(1))
    return torch.cat(ranks)


def _chance(count: Tensor, ks: Sequence[int]) -> dict[str, float]:
    """What queries with `count` (N,) relevant of N rows score on average over all orders, by name.

    That none of R is among the first k has the probability of k draws without replacement from the other N - R.
    """
    n, depth = len(count), min(_DEPTH, len(count))
    ranks, gains = torch.arange(1, n + 1, dtype=torch.float64), discounts(depth)
    names = [*(f"recall@{k}" for k in ks), "MRR", f"nDCG@{_DEPTH}"]
    values = dict.fromkeys(names, 0.0)
    for relevant, queries in zip(*(part.tolist() for part in count.unique(return_counts=True))):
        none = ((n - relevant - ranks + 1).clamp_min(0) / (n - ranks + 1)).cumprod(0)  # among the first 1, ..., N
        first = -none.diff(prepend=none.new_ones(1))  # at rank 1, ..., N
        ndcg = relevant / n * gains.sum() / gains[:relevant].sum()
        scores = [*(1 - float(none[k - 1]) for k in ks), float((first / ranks).sum()), float(ndcg)]
        for name, score in zip(names, scores):
            values[name] += score * queries / n
    return values
