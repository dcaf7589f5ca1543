"""The FactorVAE score: of samples that share a factor, does the dimension that varies least give the factor away?

Kim and Mnih 2018, "Disentangling by factorising", arXiv 1802.05983, section 4.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens import random
from twinlens.errors import InputError
from twinlens.latent.inputs import Known, halves, prepare
from twinlens.latent.score import Score, share

BATCH, VOTES = 64, 5_000
_AT_ONCE = 500  # votes


def factor_vae(
    codes: Tensor | NDArray[Any],
    factors: Tensor | NDArray[Any],
    *,
    votes: int = VOTES,
    batch: int = BATCH,
    seed: int = 0,
) -> Score:
    """The accuracy of a majority vote from the least varying dimension to the factor held fixed.

    Codes (N, D) and factors (N, F) as in `prepare`. A vote: a factor and a value of it, `batch` samples that have the
    value, drawn with replacement, and the dimension whose variance among them is least, in units of its variance among
    all; dead dimensions have no say. Which factor a dimension stands for is learnt from `votes` votes over one half of
    the samples and judged by as many over the other: from the same samples, codes that know nothing would score above
    their chance, 1 / F. The interval is over judged votes.

    Raises:
        InputError: as `prepare` does, and where a value has fewer than `batch` / 2 samples in a half.
    """
    return vote(prepare(codes, factors), votes=votes, batch=batch, seed=seed)


def vote(known: Known, *, votes: int = VOTES, batch: int = BATCH, seed: int = 0) -> Score:
    """`factor_vae` of codes that are prepared."""
    if votes < 1 or batch < 2:
        raise InputError(f"votes = {votes}, batch = {batch}: expected 1 and 2 or more.")
    learnt, judged = (
        _ballot(known, rows, votes, batch, random.seed(seed, half, 0))
        for half, rows in enumerate(halves(len(known.z), seed))
    )
    stands_for = learnt.argmax(axis=1)  # (D,)
    right = judged[np.arange(len(judged)), stands_for].sum()
    return share(int(right), votes, chance=1 / known.y.shape[1])


def _ballot(known: Known, rows: NDArray[np.int64], votes: int, batch: int, seed: int) -> NDArray[np.int64]:
    """How often each dimension varied least while each factor was fixed: (D, F), `votes` in all."""
    z, y = known.z[rows], known.y[rows]
    count, most = y.shape[1], max(known.values)
    size = np.stack([np.bincount(column, minlength=most) for column in y.T])  # (F, K) samples of each value
    order = np.argsort(y, axis=0, kind="stable")  # (M, F): value by value
    for k, values in enumerate(known.values):
        if (least := size[k, :values].min()) < batch / 2:
            raise InputError(
                f"value {size[k, :values].argmin()} of factor {k} has {least} samples in a random half: expected at "
                f"least {batch / 2:g}, half a batch; give more samples, or a batch of at most {2 * least}."
            )
    counts = np.zeros((z.shape[1], count), dtype=np.int64)
    for start in range(0, votes, _AT_ONCE):
        keys = random.keys(seed, 0, torch.arange(start, min(start + _AT_ONCE, votes)))
        u = random.uniform(keys, 2 + batch).double().numpy()  # (V, 2 + batch)
        factor = (u[:, 0] * count).astype(np.int64)
        value = (u[:, 1] * np.array(known.values)[factor]).astype(np.int64)
        first = (size.cumsum(axis=1) - size)[factor, value]
        place = first[:, None] + (u[:, 2:] * size[factor, value][:, None]).astype(np.int64)
        variance = z[order[place, factor[:, None]]].var(axis=1)  # (V, D); those of all samples are 1
        variance[:, known.dead] = np.inf
        np.add.at(counts, (variance.argmin(axis=1), factor), 1)
    return counts
