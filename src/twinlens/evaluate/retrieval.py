"""Do the samples nearest to a query share its label? Recall at k and mean average precision.

Recall at k as in metric learning (Oh Song et al. 2016, "Deep metric learning via lifted structured feature embedding"),
average precision as in Manning et al. 2008, "Introduction to information retrieval", section 8.4.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate.inputs import as_labelled
from twinlens.evaluate.result import Labelled, Result, scored

_AT_ONCE = 2**22  # similarities, of one query at least


def retrieval(gallery: Labelled, queries: Labelled | None = None, *, ks: Sequence[int] = (1, 5, 10)) -> list[Result]:
    """Recall at each of `ks`, in that order, then mAP, of finding samples of a query's label by cosine.

    Recall at k is the share of queries with a relevant sample, one of their label, among the k nearest. mAP is the mean
    over queries of the average precision over the *whole* ranking. Without `queries` each sample of the gallery looks
    for all others. Queries for which nothing is relevant are left out and counted in the settings. Of equal
    similarities the lower index comes first: a collapsed encoder is ranked by the order of its data.

    The intervals are over queries, for the gallery as it is; without `queries` they take as independent what shares a
    gallery.

    Raises:
        InputError: where shapes do not fit together, a feature is not finite, a k is not among 1 to the number of
            samples that can be found, or no query has anything relevant.
    """
    x, y = as_labelled("gallery", gallery)
    z, t = (x, y) if queries is None else as_labelled("query", queries, like=x)
    count = len(x) - 1 if queries is None else len(x)
    for k in ks:
        if not 1 <= k <= count:
            raise InputError(
                f"k = {k}: expected 1 to {count}, as many samples as a query can find; choose other ks or give a "
                "larger gallery."
            )
    first, precision = rank(normalize(z), t, normalize(x), y, itself=queries is not None)
    some = precision > 0
    if not some.any():
        raise InputError(
            f"none of {len(t)} queries has a sample of its label to find in the gallery of {len(x)}: expected labels "
            "that both share; number classes alike in both."
        )
    settings = {
        "similarity": "cosine",
        "queries": int(some.sum()),
        "left out": int((~some).sum()),
        "gallery": count,
        "protocol": "leave one out" if queries is None else "queries apart from the gallery",
    }
    first, precision = first[some], precision[some]
    recalls = [scored(f"recall@{k}", first <= k, {"k": k, **settings}) for k in ks]
    return [*recalls, scored("mAP", precision, settings)]


def rank(query: Tensor, t: Tensor, bank: Tensor, y: Tensor, *, itself: bool = True) -> tuple[Tensor, Tensor]:
    """The rank of the first relevant row of `bank`, from 1, and the average precision: (M, D), (M,), (N, D), (N,).

    Both are (M,); where nothing is relevant they are N + 1 and 0. Without `itself`, row i of the bank is kept from
    query i, by its index. Queries are taken a few at a time: the M x N similarities never exist at once.
    """
    places = torch.arange(1, len(bank) + 1, device=bank.device)
    firsts, precisions = [], []
    for rows in torch.arange(len(query), device=bank.device).split(max(1, _AT_ONCE // len(bank))):
        similarity = query[rows] @ bank.T  # (m, N)
        same = t[rows, None] == y
        if not itself:  # last in the ranking and not relevant: nothing else moves
            similarity.scatter_(1, rows[:, None], -torch.inf)
            same.scatter_(1, rows[:, None], False)
        relevant = same.gather(1, similarity.argsort(dim=1, descending=True, stable=True))
        hits = relevant.cumsum(1)
        firsts.append((hits == 0).sum(1) + 1)
        precisions.append((hits / places * relevant).sum(1) / hits[:, -1].clamp_min(1))
    return torch.cat(firsts), torch.cat(precisions)
