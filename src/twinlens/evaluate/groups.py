"""Accuracies of groups: their intervals, the lowest of them, how far apart they are, and their mean.

Intervals of shares are Wilson's 1927 rather than bootstrapped: a few items that are all right stay all right however
often they are drawn again, and the interval would have no width.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def wilson(right: Floats, count: Counts, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """The score interval of each share right / count: two of (G,) -> low and high, each (G,)."""
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    centre = right + z2 / 2
    half = np.sqrt(z2 * (right * (count - right) / count + z2 / 4))
    return np.maximum(0, (centre - half) / (count + z2)), np.minimum(1, (centre + half) / (count + z2))


def lowest(right: Floats, count: Counts) -> tuple[float, float]:
    """The 95 % interval of the lowest of G accuracies, known by its number right (G,) of (G,).

    The lowest one measured is lower than the lowest there is: it is picked for its bad luck too, so its own interval
    is not enough. Intervals at 1 - 0.05 / G hold all at once (Bonferroni), and then the lowest lies between the lowest
    of their ends.
    """
    low, high = wilson(right, count, level=1 - 0.05 / len(count))
    return float(low.min()), float(high.min())


def widest(right: Floats, count: Counts) -> tuple[float, float]:
    """The 95 % interval of the greatest difference of G accuracies, known by their number right (G,) of (G,).

    Differences of two are Newcombe 1998, "Interval estimation for the difference between independent proportions",
    method 10. As in `lowest`, those of all pairs hold at once: no gap at all is ruled out where one pair rules it out.
    """
    pairs = len(count) * (len(count) - 1) / 2
    low, high = wilson(right, count, level=1 - 0.05 / pairs)
    share = right / count
    less, more = (share - low) ** 2, (high - share) ** 2
    difference = share[:, None] - share  # (G, G)
    lows = difference - np.sqrt(less[:, None] + more)
    highs = difference + np.sqrt(more[:, None] + less)
    apart = ~np.eye(len(count), dtype=bool)
    return max(0.0, float(lows[apart].max())), float(highs[apart].max())


def balanced(
    correct: NDArray[np.bool_], group: NDArray[np.int64], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """The mean over groups of the share that is right, the mean over draws of that, and its 95 % bootstrap interval.

    correct (R, M), group (M,) out of range(G), none empty. Items are drawn again within their group, and so are the R
    draws, where there are several; percentiles.
    """
    order = group.argsort(kind="stable")
    group, scores = group[order], correct[:, order].astype(np.float64)
    size = np.bincount(group)
    first = size.cumsum() - size

    def mean(some: Floats) -> float:
        return float((np.add.reduceat(some, first, axis=1) / size).mean())

    random, again = np.random.default_rng(seed), []
    for _ in range(resamples):
        items = first[group] + (random.random(len(group)) * size[group]).astype(np.int64)
        draws = random.integers(len(scores), size=len(scores))
        again.append(mean(scores[draws][:, items]))
    low, high = np.quantile(again, (0.025, 0.975))
    return mean(scores), (float(low), float(high))
