"""Codes and the factors they shall tell of, checked and made ready for the scores."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens.errors import InputError
from twinlens.random import permutation

_EACH = 10  # samples for each value of a factor, on average, below which no score says anything


class Known(NamedTuple):
    """Codes z (N, D) float64 of mean 0 and deviation 1, dead ones 0, and factors y (N, F) out of range(values)."""

    z: NDArray[np.float64]
    y: NDArray[np.int64]
    values: tuple[int, ...]  # of each factor
    dead: NDArray[np.bool_]  # (D,): constant


def prepare(codes: Tensor | NDArray[Any], factors: Tensor | NDArray[Any]) -> Known:
    """Codes (N, D) and factors (N, F), each column of which numbers the values of one factor.

    No score depends on the scale or place of a dimension; standardised, none is lost to rounding either.

    Raises:
        InputError: where shapes do not fit, codes are not finite or all constant, a factor is constant or takes more
            values than a tenth of the samples.
    """
    z, y = (np.asarray(torch.as_tensor(x).detach().cpu().numpy()) for x in (codes, factors))
    if z.ndim != 2 or y.ndim != 2 or len(z) != len(y) or z.shape[1] < 2 or y.shape[1] < 1 or not len(z):
        raise InputError(
            f"codes of shape {z.shape} with factors of shape {y.shape}: expected (N, D) and (N, F) with D at least 2 "
            "and F at least 1; give one row of each for every sample."
        )
    if y.dtype.kind not in "iu":
        raise InputError(
            f"factors are {y.dtype}: expected integers that number the values; bin those that are measured."
        )
    z = z.astype(np.float64)
    if not np.isfinite(z).all():
        bad = int((~np.isfinite(z)).any(axis=1).sum())
        raise InputError(f"{bad} of {len(z)} codes are not finite: the encoder has diverged.")
    numbered = [np.unique(column, return_inverse=True) for column in y.T]
    values = tuple(len(names) for names, _ in numbered)
    for place, count in enumerate(values):
        if count < 2:
            raise InputError(f"factor {place} is {y[0, place]} in all {len(y)} samples: leave that column out.")
        if count * _EACH > len(y):
            raise InputError(
                f"factor {place} takes {count} values in {len(y)} samples: expected at least {_EACH} samples for each; "
                "give more samples or bin the factor."
            )
    mean, deviation = z.mean(axis=0), z.std(axis=0)
    dead = deviation <= 1e-6 * np.abs(mean)  # rounding of float32 leaves a little
    if dead.all():
        raise InputError(
            f"all {z.shape[1]} dimensions of the codes are constant: the encoder has collapsed, train it anew."
        )
    z = np.where(dead, 0, (z - mean) / np.where(dead, 1, deviation))
    return Known(z, np.stack([place for _, place in numbered], axis=1).astype(np.int64), values, dead)


def halves(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of a random half to learn from, the larger one where count is odd, and of the other to judge by."""
    order: NDArray[np.int64] = permutation(count, seed, 0).numpy()
    return order[: (count + 1) // 2], order[(count + 1) // 2 :]


def leading(scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The two best dimensions for each factor (2, F), best first, and by how much the first leads: (D, F) -> (F,)."""
    best = np.argsort(-scores, axis=0, kind="stable")[:2]
    first, second = np.take_along_axis(scores, best, axis=0)
    return best, first - second
