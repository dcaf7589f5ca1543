"""What a trained encoder has to beat."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.evaluate.result import Result, scored

Labels = Tensor | NDArray[np.int64]

RAW, UNTRAINED, POOLED, MAJORITY = "raw input", "untrained encoder", "pooled pixels", "majority class"
CHANCE = "chance"
_NUMBERS = 1024  # at most, for a raw sample: a probe on more learns slowly, and pooled pixels serve it no worse
_GRID = 8


class Raw(nn.Module):
    """The view itself as its features: (N, ...) -> (N, D); pictures of more than 1,024 numbers are pooled to fewer."""

    def forward(self, view: Tensor) -> Tensor:
        if view.ndim == 4 and view[0].numel() > _NUMBERS:
            view = F.adaptive_avg_pool2d(view, int((_NUMBERS / view.shape[1]) ** 0.5))
        return view.flatten(1)


class Pooled(nn.Module):
    """Features of pictures that nothing was trained for: the mean of each cell of an 8 x 8 grid, (N, 64 C)."""

    def forward(self, view: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(view, _GRID).flatten(1)


def majority(train: Labels, test: Labels) -> Result:
    """The accuracy of calling every test sample (M,) by the commonest training label (N,), of equal ones the first."""
    labels, counts = np.unique(np.asarray(train), return_counts=True)
    return scored(MAJORITY, torch.from_numpy(np.asarray(test) == labels[counts.argmax()]), {})


def names_classes(result: Result) -> bool:
    """Whether a result is the accuracy of naming classes, which the commonest class can be compared with."""
    return result.name in ("knn", "linear probe", "fine-tuned") or result.name.endswith("per class")
