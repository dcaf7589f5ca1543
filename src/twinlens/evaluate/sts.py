"""Do cosines of pairs of texts rise and fall with how alike people found them? Spearman's rank correlation.

The measure of the STS benchmark as sentence encoders are judged by it: Cer et al. 2017, "SemEval-2017 task 1: semantic
textual similarity", arXiv 1708.00055, has the data and reports Pearson's correlation; Reimers and Gurevych 2019,
"Sentence-BERT", arXiv 1908.10084, section 4, argue for Spearman's.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate.inputs import Features, as_features
from twinlens.evaluate.result import Result


def sts(first: Features, second: Features, scores: ArrayLike) -> Result:
    """Spearman's correlation of the cosines of pairs, rows of (N, D) and (N, D), with `scores` (N,): -1 to 1.

    Equal values share the mean of their ranks. The scale of scores does not matter, their order alone does. Of an
    encoder for which all pairs are equally alike it is 0: that order says nothing. The interval is over pairs; as pairs
    of a benchmark share sentences now and then, it is a little narrow.

    Raises:
        InputError: where shapes do not fit together, a feature or a score is not finite, there are less than 2 pairs,
            or all scores are equal.
    """
    a = as_features("first", first)
    b = as_features("second", second, a)
    judged = np.asarray(scores, dtype=np.float64)
    if len(b) != len(a) or judged.shape != (len(a),) or len(a) < 2:
        raise InputError(
            f"{len(a)} first and {len(b)} second features with scores of shape {judged.shape}: expected N, N and (N,) "
            "with N at least 2; give two rows of features and one score for each pair."
        )
    if bad := int((~np.isfinite(judged)).sum()):
        raise InputError(f"{bad} of {len(judged)} scores are not finite: leave out pairs that nobody has scored.")
    if (judged == judged[0]).all():
        raise InputError(f"all {len(judged)} scores are {judged[0]:g}: at least 2 that differ have an order to find.")
    value, interval = spearman(cosines(a, b), judged)
    return Result("STS Spearman", value, interval, {"similarity": "cosine", "pairs": len(judged)})


def cosines(first: Tensor, second: Tensor) -> NDArray[np.float32]:
    """The cosine of each pair of rows of (N, D) and (N, D): (N,)."""
    found = (normalize(first.double()) * normalize(second.double())).sum(1)
    # in float32 the cosines of pairs of equal texts are equal; the last digits of float64 would give them an order
    return np.asarray(found.to(torch.float32).cpu().numpy())


def spearman(
    x: NDArray[np.floating], y: NDArray[np.floating], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Spearman's rank correlation of (N,) and (N,), and its 95 % percentile bootstrap interval over pairs.

    0 where one of them is constant, in a resample too: pairs without an order in common.
    """
    value, again = _correlations(x, y, resamples, seed)
    return value, _middle(again)


def lead(
    x: NDArray[np.floating], other: NDArray[np.floating], y: NDArray[np.floating],
    *, resamples: int = 1000, seed: int = 0,
) -> tuple[float, tuple[float, float]]:  # fmt: skip
    """By how much x (N,) is above `other` (N,) in its correlation with y (N,), and that difference's 95 % interval.

    Both are correlated in each resample of the same pairs, so that how hard these are cancels out: two correlations
    whose own intervals touch may be apart.
    """
    (one, again), (two, of_other) = (_correlations(each, y, resamples, seed) for each in (x, other))
    return one - two, _middle(again - of_other)


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _correlations(
    x: NDArray[np.floating], y: NDArray[np.floating], resamples: int, seed: int
) -> tuple[float, NDArray[np.float64]]:
    """The correlation of all pairs, and that of each resample (R,), of which the seed alone draws the pairs."""
    places = [np.unique(values, return_inverse=True)[1] for values in (x, y)]

    def correlation(times: NDArray[np.int64]) -> float:
        """Pearson's correlation of ranks, where pair i counts times[i] times: (N,) -> -1 to 1."""
        a, b = (_ranks(place, times) for place in places)
        a, b = (ranks - times @ ranks / times.sum() for ranks in (a, b))
        norms = (times @ a**2) * (times @ b**2)
        return float(times @ (a * b) / np.sqrt(norms)) if norms > 0 else 0.0

    random, count = np.random.default_rng(seed), len(x)
    again = [correlation(np.bincount(random.integers(count, size=count), minlength=count)) for _ in range(resamples)]
    return correlation(np.ones(count, dtype=np.int64)), np.array(again)


def _ranks(place: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of the ranks that equal values share, less 1/2, of items in `place` (N,), `times` (N,) of each."""
    held = np.bincount(place, weights=times)
    rank: NDArray[np.float64] = (held.cumsum() - held / 2)[place]
    return rank
