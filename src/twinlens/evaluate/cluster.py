"""Do clusters that are found without labels agree with the classes?

Mutual information, normalised by the mean of both entropies, is V-measure (Rosenberg and Hirschberg 2007); it is above
0 by chance, the more so the more clusters there are (Vinh et al. 2010, "Information theoretic measures for clusterings
comparison"). The Rand index as adjusted by Hubert and Arabie 1985, "Comparing partitions", is not. Accuracy: each
cluster is given a class of its own so that most items are right (Kuhn 1955, "The Hungarian method for the assignment
problem"; Xie et al. 2016, "Unsupervised deep embedding for clustering analysis").
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate.inputs import as_labelled
from twinlens.evaluate.result import Labelled, Result

Table = NDArray[np.float64]  # how many items of each cluster (rows) are of each class (columns)

_MANY = 50_000  # items; above, ten runs over all of them take minutes
_STARTS = 10
_FLOOR, _UNBIASED = (0, -0.5, 0), (False, True, False)  # of each of `scores`: the least it can be; right on average


def cluster(test: Labelled, *, clusters: int | None = None, seed: int = 0) -> list[Result]:
    """NMI, ARI and the accuracy of matched clusters, of k-means on features of length 1; as many clusters as classes.

    Of several starts the one with the least inertia counts, which sees no label; of very many items it is mini-batch
    k-means, from the start that is best on a part of them: the settings say which. With another number of `clusters`
    than classes some stay unmatched: items of such a cluster, or class, are wrong. Features that have collapsed give
    fewer clusters than asked for, as the settings say.

    The intervals are over test items for the clustering as it is: how it would differ on other items is not in them.

    Raises:
        InputError: where shapes do not fit together, a feature is not finite, labels are of one class, or `clusters` is
            not among 2 to N.
    """
    x, y = as_labelled("test", test)
    classes, y = y.unique(return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"all {len(y)} test labels are {int(classes[0])}: at least 2 classes are needed to tell apart."
        )
    count = len(classes) if clusters is None else clusters
    if not 2 <= count <= len(x):
        raise InputError(f"clusters = {count}: expected 2 to {len(x)}, as many as there are test samples.")
    table = np.zeros((count, len(classes)))
    np.add.at(table, (_assign(normalize(x).cpu().numpy(), count, seed), y.cpu().numpy()), 1)
    settings = {
        "clusters": count,
        "found": int(table.any(axis=1).sum()),
        "classes": len(classes),
        "algorithm": f"k-means, best of {_STARTS}" if len(x) <= _MANY else "mini-batch k-means",
        "seed": seed,
    }
    names = ("NMI", "ARI", "cluster accuracy")
    return [Result(*result, settings) for result in zip(names, scores(table).tolist(), intervals(table))]


def _assign(unit: NDArray[np.float32], count: int, seed: int) -> NDArray[np.int32]:
    """The cluster of each row: (N, D) -> (N,), below `count`."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    kind = KMeans if len(unit) <= _MANY else MiniBatchKMeans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: the settings say so
        assigned: NDArray[np.int32] = kind(count, n_init=_STARTS, random_state=seed % 2**32).fit(unit).labels_
    return assigned


def scores(table: Table) -> NDArray[np.float64]:
    """NMI, ARI and accuracy: (K, L) counts -> (3,)."""
    return np.array([nmi(table), ari(table), matched(table)])


def nmi(table: Table) -> float:
    """2 I / (H of clusters + H of classes), 1 where both are a single one: (K, L) -> a number in [0, 1]."""
    share = table / table.sum()
    rows, columns, both = (_entropy(part) for part in (share.sum(1), share.sum(0), share))
    return max(0.0, 2 * (rows + columns - both) / (rows + columns)) if rows + columns > 0 else 1.0


def _entropy(share: Table) -> float:
    some = share[share > 0]
    return float(-(some * np.log(some)).sum())


def ari(table: Table) -> float:
    """(pairs together in both - their expectation) / (the most there could be - expectation): (K, L) -> at most 1."""
    both, rows, columns, every = (_pairs(n) for n in (table, table.sum(1), table.sum(0), table.sum()))
    chance, most = rows * columns / every, (rows + columns) / 2
    return (both - chance) / (most - chance) if most > chance else 1.0


def _pairs(count: Table) -> float:
    return float((count * (count - 1) / 2).sum())


def matched(table: Table) -> float:
    """The share of items whose class is that of their cluster, at the best one-to-one assignment: (K, L) -> [0, 1]."""
    from scipy.optimize import linear_sum_assignment

    return float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum())


def intervals(table: Table, *, resamples: int = 1000, seed: int = 0) -> list[tuple[float, float]]:
    """The 95 % interval of each of `scores` by the bootstrap over items: (K, L) -> 3 of them.

    To draw N items again is to draw the table from a multinomial. Resamples hold items twice, which raises all scores,
    so that plain percentiles may lie above the score itself. NMI and accuracy are raised as much again on a sample
    already: theirs is the basic bootstrap (Davison and Hinkley 1997, "Bootstrap methods and their application", section
    5.2), 2 * score - quantile, which takes off both. ARI is not: its percentiles are moved back by what resampling
    raises them. In simulations they cover the truth with some 20 items for each cell of the table that is not empty;
    with few items NMI is too high, and its interval with it. An interval always holds the score itself.
    """
    random, cells = np.random.default_rng(seed), table.nonzero()
    items, drawn, again = int(table.sum()), np.zeros_like(table), []
    share = table[cells] / items
    for _ in range(resamples):
        drawn[cells] = random.multinomial(items, share)
        again.append(scores(drawn))
    value = scores(table)
    least, most = np.quantile(again, (0.025, 0.975), axis=0)
    raised = np.mean(again, axis=0) - value
    low, high = (np.where(_UNBIASED, end - raised, 2 * value - other) for end, other in ((least, most), (most, least)))
    low, high = np.clip(np.minimum(low, value), _FLOOR, 1), np.clip(np.maximum(high, value), _FLOOR, 1)
    return list(zip(low.tolist(), high.tolist()))
