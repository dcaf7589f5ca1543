"""Whom does an encoder serve worse, and does it give away who someone is?

The worst group's accuracy as in Sagawa et al. 2020, "Distributionally robust neural networks for group shifts"; a probe
of the attribute beside one whose labels mean nothing, in the spirit of Hewitt and Liang 2019, "Designing and
interpreting probes with control tasks".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens.errors import InputError
from twinlens.evaluate.groups import Counts, Floats, balanced, lowest, widest, wilson
from twinlens.evaluate.logistic import logits
from twinlens.evaluate.probe import Task, learn, predict, prepare
from twinlens.evaluate.result import Labelled, Result, scored
from twinlens.random import permutation

Groups = Tensor | NDArray[Any] | Sequence[str] | Sequence[int]

LEAST = 20  # test items of a group, to be judged by; a guess: an accuracy of 80 % is then known as 58 to 92 %
PERMUTATIONS = 10
PERMUTED = "permuted groups"


@dataclass(frozen=True)
class Audit:
    """What the linear probe does for each group, and what a probe reads of the group.

    `groups` has every group's accuracy on test items, by name; `worst` and `gap` (best - worst) are among groups that
    are judged. `attribute` is the balanced accuracy with which the group is read from features, beside `PERMUTED`.
    """

    accuracy: Result
    groups: dict[str, Result]
    worst: Result
    gap: Result
    attribute: Result

    @property
    def leaks(self) -> bool:
        """Whether the group can be read: the interval lies above chance and above that of permuted groups."""
        level = max(self.attribute.settings["chance"], self.attribute.baselines[PERMUTED].interval[1])
        return bool(self.attribute.interval[0] > level)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        parts = {name: getattr(self, name).as_dict() for name in ("accuracy", "worst", "gap", "attribute")}
        groups = {name: result.as_dict() for name, result in self.groups.items()}
        return {**parts, "groups": groups, "leaks": self.leaks}

    def __str__(self) -> str:
        word = "can" if self.leaks else "cannot be shown to"
        results = (self.accuracy, *self.groups.values(), self.worst, self.gap, self.attribute)
        return "\n".join((*map(str, results), f"a linear probe {word} read the group from the features"))


def audit(
    train: Labelled,
    test: Labelled,
    groups_train: Groups,
    groups_test: Groups,
    *,
    least: int = LEAST,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Audit:
    """The linear probe's accuracy by group, and whether the group (N,), (M,) can be read from the features.

    Groups are names or numbers, read as text. One with fewer than `least` test items is reported with its wide interval
    and not judged: neither the worst group, nor part of the gap, nor of the attribute. The attribute's probe is
    `linear_probe` with the log of each group's share taken off its logits (Menon et al. 2021, "Long-tail learning via
    logit adjustment"): else it would name the large group always and seem to know nothing. Its balanced accuracy, the
    mean over groups of the share that is found, is 1 / G by chance however unequal groups are. The same is done
    `permutations` times with the training groups permuted. A group that goes with the class is read through the class:
    that is a leak all the same.

    Raises:
        InputError: as `linear_probe` does, and where there is not one group for each sample, a test group is not in
            training, or fewer than 2 groups can be judged.
    """
    task = prepare(train, test)
    if least < 1 or permutations < 1:
        raise InputError(f"least = {least}, permutations = {permutations}: expected 1 or more of both.")
    g = _as_names("groups_train", groups_train, len(task.y))
    names, t = np.unique(_as_names("groups_test", groups_test, len(task.test_y)), return_inverse=True)
    if len(unseen := np.setdiff1d(names, g)):
        raise InputError(
            f"group {str(unseen[0])!r} of groups_test is not in groups_train: expected groups that training has; leave "
            "its samples out or add some to training."
        )
    count = np.bincount(t)
    judged = count >= least
    if judged.sum() < 2:
        raise InputError(
            f"{judged.sum()} of {len(names)} groups have {least} test samples or more: expected at least 2 to compare; "
            "give more samples or merge groups."
        )
    weights, settings = learn(task.x, task.y, task.axes, task.classes, seed=seed)
    correct = predict(task.test_x, weights)[0] == task.test_y
    right: Floats = np.bincount(t, weights=correct.cpu().numpy()).astype(np.float64)
    return Audit(
        scored("linear probe", correct, settings),
        _by_group(names, right, count, judged),
        *_extremes(names[judged], right[judged], count[judged], least),
        _attribute(task, names[judged], g, names[t], permutations, seed),
    )


def _as_names(kind: str, groups: Groups, count: int) -> NDArray[np.str_]:
    names = np.asarray(groups.cpu() if isinstance(groups, Tensor) else groups)
    if names.shape != (count,) or names.dtype.kind not in "biuU":
        raise InputError(
            f"{kind} are {names.dtype} of shape {names.shape}: expected names or whole numbers of shape ({count},); "
            "give one group for each sample and leave out samples whose group is not known."
        )
    return names.astype(str)


def _by_group(names: NDArray[np.str_], right: Floats, count: Counts, judged: NDArray[np.bool_]) -> dict[str, Result]:
    low, high = wilson(right, count)
    columns = (names, right / count, low, high, count, judged)
    return {
        name: Result(f"group {name}", share, (least, most), {"items": items, "judged": own})
        for name, share, least, most, items, own in zip(*(column.tolist() for column in columns))
    }


def _extremes(names: NDArray[np.str_], right: Floats, count: Counts, least: int) -> tuple[Result, Result]:
    """The worst group's accuracy, and how far the best is above it: of groups that are judged, (G,) each."""
    share = right / count
    worst, best = int(share.argmin()), int(share.argmax())
    settings = {"worst": str(names[worst]), "of": names.tolist(), "least": least}
    return (
        Result("worst group", float(share[worst]), lowest(right, count), settings),
        Result("gap", float(share[best] - share[worst]), widest(right, count), {"best": str(names[best]), **settings}),
    )


def _attribute(
    task: Task, names: NDArray[np.str_], g: NDArray[np.str_], t: NDArray[np.str_], permutations: int, seed: int
) -> Result:
    """The balanced accuracy of reading which of `names` (G,) a sample is of, from g (N,), for t (M,)."""
    inside, judge = np.isin(g, names), np.isin(t, names)
    x, z = (part[torch.from_numpy(rows).to(part.device)] for part, rows in ((task.x, inside), (task.test_x, judge)))
    y = torch.from_numpy(np.searchsorted(names, g[inside])).to(x.device)
    known = np.searchsorted(names, t[judge])
    prior = (y.bincount() / len(y)).log()[:, None]  # (G, 1)

    def correct(y: Tensor) -> NDArray[np.bool_]:
        weights, _ = learn(x, y, task.axes, len(names), seed=seed)
        found: NDArray[np.bool_] = (logits(z[None], weights)[0, 0] - prior).argmax(0).cpu().numpy() == known
        return found

    mixed = [correct(y[permutation(len(y), seed, 1 + i).to(y.device)]) for i in range(permutations)]
    baseline = Result(PERMUTED, *balanced(np.stack(mixed), known), {"permutations": permutations})
    settings = {"groups": names.tolist(), "chance": 1 / len(names), "measure": "balanced accuracy", "seed": seed}
    return Result("group read from features", *balanced(correct(y)[None], known), settings).beside({PERMUTED: baseline})
