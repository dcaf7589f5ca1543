"""Few labels: the same logistic probe on a handful of labels for each class, over several draws of which."""

import torch
from torch import Tensor

from twinlens.errors import InputError
from twinlens.evaluate.probe import FOLDS, Task, choose, places, predict, prepare, refit, rounded
from twinlens.evaluate.result import Labelled, Result, scored


def few_label(train: Labelled, test: Labelled, *, shots: int, draws: int = 10, seed: int = 0) -> Result:
    """Mean accuracy over `draws` of a logistic regression on `shots` labels of each class, drawn without replacement.

    The L2 penalty is chosen for each draw on its own labels, by cross-validation in five folds; below five labels a
    class it is fixed. Features are standardised by the whole training part, which needs no labels. The interval covers
    both draws and test items.

    Raises:
        InputError: where a class has fewer than `shots` labels.
    """
    return few(prepare(train, test), shots=shots, draws=draws, seed=seed)


def few(task: Task, *, shots: int, draws: int = 10, seed: int = 0) -> Result:
    """`few_label` of a task that is prepared."""
    least = int(task.y.bincount().min())
    if not 1 <= shots <= least:
        raise InputError(f"shots = {shots}: expected 1 to {least}, as many labels as the smallest class has.")
    index = torch.stack([_draw(task.y, shots, seed, draw) for draw in range(draws)])  # (B, n)
    x, y = task.x[index], task.y[index]
    fold = torch.arange(index.shape[1], device=y.device) % shots % FOLDS
    held = fold == torch.arange(FOLDS, device=y.device)[:, None] if shots >= FOLDS else None  # (P, n)
    penalty, start = choose(x, y, held, task.axes, task.classes)
    chosen = f"{FOLDS} folds of the drawn labels" if shots >= FOLDS else "nothing: the default"
    correct = predict(task.test_x, refit(x, y, penalty, start, task.axes)) == task.test_y
    settings = {"shots": shots, "draws": draws, "penalty": rounded(penalty), "chosen on": chosen, "seed": seed}
    return scored(f"{shots} per class", correct, settings)


def _draw(y: Tensor, shots: int, seed: int, draw: int) -> Tensor:
    """Indices of `shots` samples of each class, class by class, in random order within: (N,) -> (K * shots,)."""
    place = places(y, seed, draw)
    picked = (place < shots).nonzero().squeeze(1)
    return picked[(y[picked] * shots + place[picked]).argsort()]
