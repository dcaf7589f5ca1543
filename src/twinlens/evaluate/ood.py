"""Can samples of another kind be told by how far they lie from all that training has seen?

Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors", ICML.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate.inputs import Features, as_features
from twinlens.evaluate.result import Result
from twinlens.nearest import top_k


def ood(train: Features, inside: Features, outside: Features, *, k: int = 50) -> Result:
    """How often a sample from `outside` lies farther from its k-th nearest training sample than one from `inside`.

    The area under the ROC curve: 1 where all do, 0.5 by chance; equal distances count one half. Features (N, D), (M, D)
    and (L, D), normalised; no labels. `inside` are samples of the kind that `train` is, but not those of `train`, which
    would find themselves. A `k` above N is cut to N. `k` stands before any outside sample is seen: choosing it on them
    would be tuning on the test. The interval is over both inside and outside samples, for the training samples as they
    are.

    Raises:
        InputError: where shapes do not fit together, a feature is not finite, or `k` is below 1.
    """
    x = as_features("training", train)
    z, o = as_features("inside", inside, x), as_features("outside", outside, x)
    if k < 1:
        raise InputError(f"k = {k}: expected at least 1, the nearest training sample.")
    k = min(k, len(x))
    # on unit vectors distance^2 = 2 - 2 * cosine: the farther, the smaller the cosine
    cosine = top_k(normalize(torch.cat((z, o))), normalize(x), k)[0][:, -1].cpu().numpy()  # (M + L,)
    near, far = cosine[: len(z)], cosine[len(z) :]
    settings = {"k": k, "similarity": "cosine", "training": len(x), "inside": len(z), "outside": len(o)}
    return Result("ood", *auroc(near, far), settings)


def auroc(
    high: NDArray[np.float32], low: NDArray[np.float32], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """How often one of `high` (M,) is above one of `low` (L,), equals counting half, and its 95 % bootstrap interval.

    Both are drawn again with replacement, each to its own size; percentiles.
    """
    place = np.unique(np.concatenate((high, low)), return_inverse=True)[1]
    places, above, below = int(place.max()) + 1, place[: len(high)], place[len(high) :]

    def area(some: NDArray[np.int64], others: NDArray[np.int64]) -> float:
        wins, losses = np.bincount(some, minlength=places), np.bincount(others, minlength=places)
        return float(wins @ (losses.cumsum() - losses / 2)) / (len(some) * len(others))

    random = np.random.default_rng(seed)
    again = [
        area(*(part[random.integers(len(part), size=len(part))] for part in (above, below))) for _ in range(resamples)
    ]
    least, most = np.quantile(again, (0.025, 0.975))
    return area(above, below), (float(least), float(most))
