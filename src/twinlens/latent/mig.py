"""The mutual information gap: how much more of a factor its best dimension tells than the next one does.

Chen et al. 2018, "Isolating sources of disentanglement in variational autoencoders", arXiv 1802.04942, section 4.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from twinlens.latent.inputs import Known, leading, prepare
from twinlens.latent.score import Score, around, standard_error

BINS = 20  # of equal width, from a dimension's least value to its largest: Locatello et al. 2019, arXiv 1811.12359


class MIG(NamedTuple):
    """The gap, and the share of each factor's entropy that each dimension tells: (D, F)."""

    score: Score
    information: NDArray[np.float64]


def mig(codes: Tensor | NDArray[Any], factors: Tensor | NDArray[Any], *, bins: int = BINS, seed: int = 0) -> MIG:
    """The mean over factors v of (I(z_1; v) - I(z_2; v)) / H(v), z_1 and z_2 the dimensions that tell most of v.

    Codes (N, D) and factors (N, F) as in `prepare`. A dimension that tells of two factors loses nothing here: that is
    what DCI's disentanglement is for. The interval is over samples, with z_1 and z_2 held.
    """
    return gap(prepare(codes, factors), bins=bins, seed=seed)


def gap(known: Known, *, bins: int = BINS, seed: int = 0) -> MIG:
    """`mig` of codes that are prepared."""
    b, columns = binned(known.z, bins), range(known.y.shape[1])
    table = [[information(b[:, j], known.y[:, k], bins) for k in columns] for j in range(b.shape[1])]
    told = np.array(table)  # (D, F)
    best, lead = leading(told)

    def again(rows: NDArray[np.int64]) -> float:
        gaps = []
        for k in columns:
            first, second = (information(b[rows, j], known.y[rows, k], bins) for j in best[:, k])
            gaps.append(first - second)
        return float(np.mean(gaps))

    return MIG(around(float(lead.mean()), standard_error(again, len(b), seed=seed)), told)


def binned(z: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """Each value's bin among `bins` of equal width over its dimension: (N, D) -> (N, D), 0 where it is constant."""
    low, span = z.min(axis=0), np.ptp(z, axis=0)
    place: NDArray[np.int64] = ((z - low) / np.where(span > 0, span, 1) * bins).astype(np.int64).clip(max=bins - 1)
    return place


def information(bin_: NDArray[np.int64], value: NDArray[np.int64], bins: int = BINS) -> float:
    """I(bin; value) / H(value) of two columns (N,), by their frequencies."""
    joint = np.bincount(value * bins + bin_, minlength=(int(value.max()) + 1) * bins).reshape(-1, bins) / len(value)
    of_value = entropy(joint.sum(axis=1))
    return (of_value + entropy(joint.sum(axis=0)) - entropy(joint)) / of_value


def entropy(p: NDArray[np.float64]) -> float:
    """In nats, of probabilities of any shape."""
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
