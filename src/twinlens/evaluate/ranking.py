"""Rankings of a corpus by cosine: how much of what is relevant to a query stands at their head.

Gain by rank is Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), in the
form that benchmarks of retrieval use (trec_eval's ndcg_cut): grades as gains, divided by log2(1 + rank), where the
paper divides by log2(rank) from the second rank on. So a second place counts less than a first.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate.baselines import CHANCE
from twinlens.evaluate.inputs import Features, as_features
from twinlens.evaluate.result import Result, known, scored
from twinlens.nearest import top_k


def ranked(
    queries: Features, corpus: Features, relevant: Sequence[Mapping[int, float]], *, ks: Sequence[int] = (1, 5, 10)
) -> list[Result]:
    """nDCG at each of `ks`, then recall at each, of queries (M, D) in a corpus (N, D) by cosine.

    `relevant` has for each query the rows of the corpus that are relevant and their grades; a grade of 0 or less is as
    good as none. Recall at k is the share of a query's relevant rows among the k nearest (of grades above 0 alike), so
    that below as many k as there are it cannot be 1. Queries for which nothing is relevant are left out and counted in
    the settings. Of equal similarities the lower index comes first. Beside each stands chance: its expectation over all
    orders of the corpus, known rather than measured. The intervals are over queries, for the corpus as it is.

    Raises:
        InputError: where shapes do not fit together, a feature or grade is not finite, a row is not in the corpus, a k
            is not among 1 to N, or no query has anything relevant.
    """
    x = as_features("corpus", corpus)
    z = as_features("query", queries, x)
    check_ks(ks, len(x))
    if len(relevant) != len(z):
        raise InputError(f"{len(relevant)} mappings of what is relevant for {len(z)} queries: expected one for each.")
    query, row, grade = _table(relevant, len(x))
    some = query.unique()
    if not len(some):
        raise InputError(f"none of {len(z)} queries has anything relevant: expected a row with a grade above 0.")
    index = top_k(normalize(z[some.to(z.device)]), normalize(x), max(ks))[1].cpu()  # (m, k)
    settings = {"similarity": "cosine", "queries": len(some), "left out": len(z) - len(some), "corpus": len(x)}
    place = torch.searchsorted(some, query)  # which of those left
    codes = place * len(x) + row
    codes, order = codes.sort()
    found = torch.arange(len(some))[:, None] * len(x) + index
    at = torch.searchsorted(codes, found).clamp_max(len(codes) - 1)
    gains = torch.where(codes[at] == found, grade[order][at], 0)  # (m, k)
    best = ideal(place, grade, len(some), max(ks))
    total = torch.zeros(len(some), dtype=torch.float64).index_add_(0, place, grade)
    count = place.bincount(minlength=len(some))
    results = []
    for k in ks:
        most = dcg(best[:, :k])
        chance = float((total / len(x) * discounts(k).sum() / most).mean())
        result = scored(f"nDCG@{k}", dcg(gains[:, :k]) / most, {"k": k, **settings})
        results.append(result.beside({CHANCE: known(CHANCE, chance)}))
    for k in ks:
        result = scored(f"recall@{k}", (gains[:, :k] > 0).sum(1) / count, {"k": k, **settings})
        results.append(result.beside({CHANCE: known(CHANCE, k / len(x))}))
    return results


def discounts(k: int) -> Tensor:
    """1 / log2(1 + rank) for ranks from 1: (k,) float64."""
    return 1 / torch.arange(2, k + 2, dtype=torch.float64).log2()


def dcg(gains: Tensor) -> Tensor:
    """The discounted cumulated gain of grades (M, k) in the order of their ranks: (M,) float64."""
    return gains.double() @ discounts(gains.shape[1]).to(gains.device)


def ideal(place: Tensor, grade: Tensor, queries: int, k: int) -> Tensor:
    """Each query's highest grades, the highest first, 0 where there are less: (R,) queries, (R,) grades -> (M, k)."""
    order = grade.argsort(descending=True, stable=True)
    order = order[place[order].argsort(stable=True)]  # by query, then the highest first
    place = place[order]
    rank = torch.arange(len(place)) - torch.searchsorted(place, place)
    best, inside = torch.zeros(queries, k, dtype=torch.float64), rank < k
    best[place[inside], rank[inside]] = grade[order][inside]
    return best


def check_ks(ks: Sequence[int], count: int) -> None:
    """Raises InputError where there is no k, or one is not among 1 to `count`."""
    for k in ks or (0,):
        if not 1 <= k <= count:
            raise InputError(
                f"k = {k}: expected 1 to {count}, as many rows as can be found; choose other ks or give more rows."
            )


def _table(relevant: Sequence[Mapping[int, float]], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, rows and grades above 0 of all that is relevant: three of (R,)."""
    entries = [(i, row, grade) for i, rows in enumerate(relevant) for row, grade in rows.items()]
    grade = torch.tensor([grade for *_, grade in entries], dtype=torch.float64)
    query, row = (torch.tensor([entry[part] for entry in entries], dtype=torch.int64) for part in (0, 1))
    if wrong := int(((row < 0) | (row >= count)).sum()):
        raise InputError(
            f"{wrong} of {len(row)} relevant rows are not among 0 to {count - 1}: expected rows of the corpus; leave "
            "out what it lacks."
        )
    if bad := int((~grade.isfinite()).sum()):
        raise InputError(f"{bad} of {len(grade)} grades are not finite: expected numbers, 1 where there are no grades.")
    above = grade > 0
    return query[above], row[above], grade[above]
