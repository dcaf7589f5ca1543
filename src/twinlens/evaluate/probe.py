"""The linear probe: logistic regression on frozen features, its penalty chosen within the training labels."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from twinlens.errors import InputError
from twinlens.evaluate.logistic import Axes, cross_entropy, fit, logits, principal
from twinlens.evaluate.result import Labelled, Result, as_tensors, scored
from twinlens.random import permutation

PENALTIES = tuple(10 ** (-i / 2) for i in range(13))  # 1 to 1e-6, on the mean loss: 1 / (C n) in scikit-learn's terms
DEFAULT = 0.1  # without a label for each fold; on raw images, 1 label a class, all of 0.03 to 100 lie within 1.1 points
FOLDS = 5
_ROUGH, _FINE = 1e-2, 5e-3  # tolerances of `fit`, for choosing and for the final weights; accuracies move by 0.1 points


class Task(NamedTuple):
    """Standardised features and labels out of range(classes); a test label that training does not know is -1."""

    x: Tensor  # (N, D)
    y: Tensor  # (N,)
    test_x: Tensor  # (M, D)
    test_y: Tensor  # (M,)
    classes: int
    axes: Axes


def prepare(train: Labelled, test: Labelled) -> Task:
    """Features standardised by mean and deviation of the training part; what is constant there becomes zero.

    Raises:
        InputError: as `as_tensors` does, and where all features are constant.
    """
    x, y, z, t = as_tensors(train, test)
    std, mean = torch.std_mean(x, dim=0, correction=0)
    constant = std <= 1e-5 * mean.abs()  # rounding leaves a little
    if constant.all():
        raise InputError(f"all {x.shape[1]} training features are constant: the encoder has collapsed, train it anew.")
    scale = torch.where(constant, 0, 1 / std)
    x, z = (x - mean).mul_(scale), (z - mean).mul_(scale)
    known, y = y.unique(return_inverse=True)
    place = torch.searchsorted(known, t).clamp_max_(len(known) - 1)
    return Task(x, y, z, torch.where(known[place] == t, place, -1), len(known), principal(x))


def linear_probe(train: Labelled, test: Labelled, *, seed: int = 0) -> Result:
    """Accuracy of a logistic regression on all training labels.

    The L2 penalty is the one with the least cross-entropy on a fifth of the *training* labels, held out class by class.
    """
    return probe(prepare(train, test), seed=seed)


def probe(task: Task, *, seed: int = 0) -> Result:
    """`linear_probe` of a task that is prepared."""
    weights, settings = learn(task.x, task.y, task.axes, task.classes, seed=seed)
    return scored("linear probe", predict(task.test_x, weights)[0] == task.test_y, settings)


def learn(x: Tensor, y: Tensor, axes: Axes, classes: int, *, seed: int) -> tuple[Tensor, dict[str, Any]]:
    """The probe's weights (1, 1, K, D + 1) on all of x (N, D), y (N,), and how they were chosen."""
    held = places(y, seed, 0) % FOLDS == FOLDS - 1
    penalty, start = choose(x[None], y[None], held[None] if held.any() else None, axes, classes)
    chosen = f"{int(held.sum())} of {len(held)} training labels"
    settings = {"penalty": rounded(penalty)[0], "chosen on": chosen, "seed": seed}
    return refit(x[None], y[None], penalty, start, axes), settings


def places(y: Tensor, seed: int, draw: int) -> Tensor:
    """Each sample's place in a random order of its class: (N,) -> (N,), from 0."""
    order = permutation(len(y), seed, draw).to(y.device)
    order = order[y[order].argsort(stable=True)]  # class by class, at random within each
    counts = y.bincount()
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(y), device=y.device) - first)


def choose(x: Tensor, y: Tensor, held: Tensor | None, axes: Axes, classes: int) -> tuple[Tensor, Tensor]:
    """The penalty with the least cross-entropy on held-out rows, for each set of rows, and weights to go on from.

    x (B, n, D), y (B, n) and held (P, n), true where a row is held out of problem p -> penalty (B,), weights
    (B, 1, K, D + 1). The path runs from strong to weak, each solution the start of the next, and ends where every set
    has become worse. Cross-entropy rather than accuracy because a few labels say more of it. With nothing to hold out
    the penalty is the default.
    """
    if held is None:
        return x.new_full((len(x),), DEFAULT), x.new_zeros(len(x), 1, classes, x.shape[2] + 1)
    kept, left = (part / part.sum(1, keepdim=True) for part in ((~held).to(x), held.to(x)))
    weights = x.new_zeros(len(x), len(held), classes, x.shape[2] + 1)
    least, past = x.new_full((len(x),), math.inf), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    penalty, start = x.new_zeros(len(x)), weights[:, :1]
    for value in PENALTIES:
        weights = fit(x, y, kept, x.new_full(weights.shape[:2], value), weights, axes, tolerance=_ROUGH)
        error = (cross_entropy(logits(x, weights), y) * left).sum((1, 2))
        better = error < least
        least, past = torch.where(better, error, least), past | ~better
        penalty = torch.where(better, value, penalty)
        start = torch.where(better[:, None, None, None], weights.mean(1, keepdim=True), start)
        if past.all():
            break
    return penalty, start


def refit(x: Tensor, y: Tensor, penalty: Tensor, start: Tensor, axes: Axes) -> Tensor:
    """The weights on all rows: x (B, n, D), y (B, n), penalty (B,), start (B, 1, K, D + 1) -> as `start`."""
    rows = x.new_full((1, x.shape[1]), 1 / x.shape[1])
    return fit(x, y, rows, penalty[:, None], start, axes, tolerance=_FINE)


def rounded(penalty: Tensor) -> list[float]:
    """Penalties as they are read, without the digits of float32."""
    return [float(f"{value:.3g}") for value in penalty.tolist()]


def predict(x: Tensor, weights: Tensor) -> Tensor:
    """The most likely class of each row by each weights: (M, D) and (B, 1, K, D + 1) -> (B, M)."""
    return logits(x[None], weights.transpose(0, 1))[0].argmax(1)
