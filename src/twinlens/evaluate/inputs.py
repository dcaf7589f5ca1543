"""Features, with labels or without, as tensors, or one sentence about what is wrong with them."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens.errors import InputError
from twinlens.evaluate.result import Labelled

Features = Tensor | NDArray[Any]


def as_features(kind: str, features: Features, like: Tensor | None = None) -> Tensor:
    """Features (N, D) float32, N at least 1, on the device of `like` where given; `kind` is what errors call them.

    Raises:
        InputError: where the shape is another, a feature is not finite, or D is not that of `like`.
    """
    x = torch.as_tensor(features, dtype=torch.float32, device=None if like is None else like.device).detach()
    if x.ndim != 2 or 0 in x.shape:
        raise InputError(
            f"{kind} features of shape {tuple(x.shape)}: expected (N, D) with both at least 1; give one row for each "
            "sample."
        )
    if bad := int((~x.isfinite()).any(1).sum()):
        raise InputError(f"{bad} of {len(x)} {kind} features are not finite: the encoder has diverged.")
    if like is not None and x.shape[1] != like.shape[1]:
        raise InputError(
            f"{kind} features have {x.shape[1]} dimensions where {like.shape[1]} are expected: embed both with one "
            "encoder."
        )
    return x


def as_labelled(kind: str, part: Labelled, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Features as `as_features` gives them, and their labels (N,) int64.

    Raises:
        InputError: as `as_features` does, and where there is not one label for each row.
    """
    x = as_features(kind, part[0], like)
    y = torch.as_tensor(part[1], dtype=torch.int64, device=x.device)
    if y.shape != x.shape[:1]:
        raise InputError(
            f"{kind} labels of shape {tuple(y.shape)} for {len(x)} rows of features: expected ({len(x)},); give one "
            "label for each sample."
        )
    return x, y
