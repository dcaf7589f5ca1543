"""Do two sets of samples come from one distribution? A distance between what they look like to an encoder.

Binkowski, Sutherland, Arbel, Gretton 2018, "Demystifying MMD GANs", arXiv 1801.01401, section 4: the kernel Inception
distance. Here the encoder is any; values are comparable between sets that the same one has embedded, and only those.
"""

import math

import numpy as np
import torch
from torch import Tensor

from twinlens import random
from twinlens.errors import InputError
from twinlens.evaluate.inputs import Features, as_features
from twinlens.evaluate.result import Result

DEGREE = 3  # of the kernel


def kid(real: Features, drawn: Features, *, blocks: int = 10, seed: int = 0) -> Result:
    """The squared maximum mean discrepancy of features (N, D) and (M, D) by a cubic kernel, the mean over blocks of it.

    Unbiased: 0 in expectation for samples of one distribution, hence now and then below, and the same in expectation
    for any number of samples. Both sets are shuffled by `seed` and cut into as many `blocks`, each of which gives an
    estimate; ten blocks of the 10,000 test pictures of CIFAR-10 have the 1,000 rows of the authors' code's subsets.
    Unlike those, blocks do not overlap: so their estimates are independent, and the interval, Student's of their mean,
    says what other samples could have given, where one over overlapping subsets narrows the more of them are drawn.

    Raises:
        InputError: where shapes do not fit together, a feature is not finite, or a block would have less than 2 rows.
    """
    x = as_features("real", real)
    y = as_features("drawn", drawn, x)
    if blocks < 2:
        raise InputError(f"blocks = {blocks}: expected at least 2, from whose differences the interval is.")
    if (rows := min(len(x), len(y))) < 2 * blocks:
        raise InputError(
            f"{rows} samples in {blocks} blocks: expected at least 2 in a block; give {2 * blocks} samples or more."
        )
    parts = (
        features[random.permutation(len(features), seed, place).to(features.device)].tensor_split(blocks)
        for place, features in enumerate((x, y))
    )
    found = np.array([mmd(some, others) for some, others in zip(*parts)])
    settings = {
        "kernel": "(x y / D + 1)^3", "dimensions": x.shape[1], "real": len(x), "drawn": len(y), "blocks": blocks,
        "seed": seed,
    }  # fmt: skip
    return Result("KID", float(found.mean()), _student(found), settings, share=False)


def mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy of (N, D) and (M, D), N and M at least 2, in float64.

    Gretton et al. 2012, "A kernel two-sample test", equation 3, with k(x, y) = (x y / D + 1)^3.
    """
    (n, d), m = x.shape, len(y)
    both = torch.cat((x, y)).double()
    kernel = (both @ both.T / d + 1) ** DEGREE  # (N + M, N + M)
    among = kernel.clone().fill_diagonal_(0)
    within = among[:n, :n].sum() / (n * (n - 1)) + among[n:, n:].sum() / (m * (m - 1))
    return float(within - 2 * kernel[:n, n:].mean())


def _student(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """The 95 % interval of the mean of independent values (B,) by Student's t: of few, a bootstrap is too narrow."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half
