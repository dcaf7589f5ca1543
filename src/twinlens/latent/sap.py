"""The separated attribute predictability: how much better a factor is predicted by its best dimension than by the next.

Kumar et al. 2018, "Variational inference of disentangled latent concepts from unlabeled observations", arXiv
1711.00848, section 3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from twinlens.errors import InputError
from twinlens.latent.inputs import Known, halves, leading, prepare
from twinlens.latent.score import Score, around, standard_error


def sap(
    codes: Tensor | NDArray[Any], factors: Tensor | NDArray[Any], *, ordered: Sequence[int] = (), seed: int = 0
) -> Score:
    """The mean over factors of the difference between the two best scores that single dimensions have.

    Codes (N, D) and factors (N, F) as in `prepare`. A factor that is named in `ordered` (by its column) is an amount,
    scored by R^2 of a line; the others are kinds, scored by balanced accuracy of thresholds, one fewer than values. The
    thresholds are those of a tree grown on half of the samples (best first, hence not always the best ones); both
    scores are taken on the other half. A perfect score is 1 for an amount but 1 - 1/K for a kind of K values, as the
    next dimension is right by chance: see `best`. The interval is over judged samples, with the two dimensions held.
    """
    return lead(prepare(codes, factors), ordered=ordered, seed=seed)


def lead(known: Known, *, ordered: Sequence[int] = (), seed: int = 0) -> Score:
    """`sap` of codes that are prepared."""
    count = known.y.shape[1]
    if wrong := [k for k in ordered if not 0 <= k < count]:
        raise InputError(f"ordered names factor {wrong[0]}: expected columns of the factors, 0 to {count - 1}.")
    learn, judge = halves(len(known.z), seed)
    z, y = known.z[judge], known.y[judge]  # (M, D), (M, F)
    hits = {k: _hits(known, k, learn, judge) for k in range(count) if k not in ordered}  # each (M, D)

    def scores(k: int, rows: NDArray[np.int64] | slice, dimensions: NDArray[np.int64] | slice) -> NDArray[np.float64]:
        if k in hits:
            return balanced(hits[k][rows][:, dimensions], y[rows, k])
        return explained(z[rows][:, dimensions], y[rows, k])

    best, gaps = leading(np.stack([scores(k, slice(None), slice(None)) for k in range(count)], axis=1))

    def again(rows: NDArray[np.int64]) -> float:
        return float(np.mean([-np.diff(scores(k, rows, best[:, k]))[0] for k in range(count)]))

    perfect = np.mean([1 - 1 / known.values[k] if k in hits else 1 for k in range(count)])
    return around(float(gaps.mean()), standard_error(again, len(z), seed=seed), best=float(perfect))


def _hits(known: Known, k: int, learn: NDArray[np.int64], judge: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where each dimension alone tells factor k: (M, D) over the judged samples."""
    from sklearn.tree import DecisionTreeClassifier

    y, hits = known.y[:, k], []
    for column in known.z.T:
        tree = DecisionTreeClassifier(max_leaf_nodes=known.values[k], class_weight="balanced", random_state=0)
        tree.fit(column[learn, None], y[learn])
        hits.append(tree.predict(column[judge, None]) == y[judge])
    return np.stack(hits, axis=1)


def balanced(hits: NDArray[np.bool_], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean over values of the share that is right: (M, D) and (M,) -> (D,)."""
    own = np.eye(int(y.max()) + 1)[:, y]  # (K, M)
    own = own[own.sum(axis=1) > 0]
    share: NDArray[np.float64] = (own @ hits / own.sum(axis=1, keepdims=True)).mean(axis=0)
    return share


def explained(z: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """R^2 of y (M,) as a line in each dimension of z (M, D): the squared correlation, (D,); 0 where one is constant."""
    z, y = z - z.mean(axis=0), y - y.mean()
    both = (z * z).sum(axis=0) * (y @ y)
    return np.where(both > 0, (y @ z) ** 2 / np.where(both > 0, both, 1), 0)
