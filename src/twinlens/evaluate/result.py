"""What an evaluation takes and gives: labelled features in, a number with its interval out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from twinlens.errors import InputError


class Labelled(NamedTuple):
    """Frozen features (N, D) float32 and their labels (N,) int64, tensors or arrays."""

    features: Tensor | NDArray[np.float32]
    labels: Tensor | NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """A number on test items with its 95 % interval and all that it was measured with.

    It is a share in [0, 1], or a correlation in [-1, 1], the higher the better; or, where `share` is false, an error or
    a distance in a unit of its own, the lower the better. `baselines` are the same measurement of something else (the
    raw input, the untrained encoder), by name.
    """

    name: str
    value: float
    interval: tuple[float, float]
    settings: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, "Result"] = field(default_factory=dict)
    share: bool = True

    def beside(self, baselines: Mapping[str, "Result"]) -> "Result":
        """A copy that stands beside `baselines`, in addition to those it has."""
        return replace(self, baselines={**self.baselines, **baselines})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        low, high = self.interval
        form = ".1%" if self.share else ".4g"
        return f"{self.name} {self.value:{form}} ({low:{form}} to {high:{form}})"


def bootstrap(correct: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval (Efron 1979) of the mean of `correct`: (M,) items or (R, M) draws, items.

    Items are drawn again with replacement and so, where there are several, are draws: both are samples of what else
    could have been measured, and the items are the same in each draw.
    """
    scores = np.atleast_2d(np.asarray(correct, dtype=np.float32))
    count, items = scores.shape
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for i in range(resamples):  # a (resamples, M) table of counts is slower to write and read than this loop
        times = np.bincount(random.integers(items, size=items), minlength=items).astype(np.float32)
        draws = np.bincount(random.integers(count, size=count), minlength=count)
        means[i] = draws @ (scores @ times) / (count * items)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def scored(name: str, correct: Tensor, settings: dict[str, Any]) -> Result:
    """The result of per-item scores, (M,) or (R, M), in [0, 1]."""
    scores = correct.float().cpu().numpy()
    return Result(name, float(scores.mean(dtype=np.float64)), bootstrap(scores), settings)


def known(name: str, value: float, settings: dict[str, Any] | None = None) -> Result:
    """A result that is computed rather than measured, as a level of chance is: its interval has no width."""
    return Result(name, value, (value, value), settings or {})


def as_tensors(train: Labelled, test: Labelled) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train features (N, D) float32 and labels (N,), test features (M, D) and labels (M,), on the first one's device.

    Raises:
        InputError: where shapes do not fit together, a feature is not finite, or training labels are of one class.
    """
    device = torch.as_tensor(train.features).device
    x, z = (torch.as_tensor(part.features, dtype=torch.float32, device=device) for part in (train, test))
    y, t = (torch.as_tensor(part.labels, dtype=torch.int64, device=device) for part in (train, test))
    for kind, features, labels in (("training", x, y), ("test", z, t)):
        if features.ndim != 2 or labels.shape != features.shape[:1] or len(labels) == 0:
            raise InputError(
                f"{kind} features of shape {tuple(features.shape)} with labels of shape {tuple(labels.shape)}: expected"
                " (N, D) and (N,) with N at least 1; give one row of features and one label for each sample."
            )
        if not features.isfinite().all():
            bad = int((~features.isfinite()).any(1).sum())
            raise InputError(f"{bad} of {len(features)} {kind} features are not finite: the encoder has diverged.")
    if x.shape[1] != z.shape[1]:
        raise InputError(
            f"training features have {x.shape[1]} dimensions, test features {z.shape[1]}: embed both with one encoder."
        )
    if int(y.min()) == int(y.max()):
        raise InputError(f"all {len(y)} training labels are {int(y[0])}: at least 2 classes are needed to tell apart.")
    return x, y, z, t
