"""Labelled data -> the part a probe learns from and the part it is judged on."""

from typing import Any

import torch
from torch import Tensor

from twinlens import random
from twinlens.batch import Samples, Split
from twinlens.data.pairs import Pairs
from twinlens.errors import InputError
from twinlens.evaluate import leaks

TEST_SHARE = 0.2  # of each class, where the data has no test part of its own


def parts(split: Split, *, seed: int) -> tuple[Samples, Samples]:
    """The training and test part: the data's own, or as `drawn`; InputError for pairs, which have no classes."""
    if isinstance(split.train, Pairs) and (split.train.labels is None or split.train.labels.dtype.kind == "f"):
        raise InputError(
            f"{split.train.name} holds pairs and no classes: twinlens.alignment.evaluate(run, data), or twinlens "
            f"evaluate, judges how well they are brought together."
        )
    if split.test is not None and split.test.labels is not None and split.train.labels is not None:
        return split.train, split.test
    learn, judged = drawn(split.train, seed=seed)
    return split.train.subset(learn), split.train.subset(judged)


def drawn(samples: Samples, *, seed: int) -> tuple[Tensor, Tensor]:
    """The places of those to learn from and to be judged by: of every class `TEST_SHARE` are judged, drawn by `seed`.

    A judged sample whose content is also among the others is put there, beside its copy.
    """
    if samples.labels is None:
        raise InputError(_unlabelled(samples))
    order = random.permutation(len(samples), seed, 0)
    labels = torch.from_numpy(samples.labels)[order]
    test = torch.zeros(len(order), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        if len(members) < 2:
            name = samples.classes[int(label)] if samples.classes else int(label)
            raise InputError(
                f"class {name!r} of {samples.name} has one sample: a class needs two, one to learn from and one to "
                f"be judged on."
            )
        test[members[: max(1, round(len(members) * TEST_SHARE))]] = True
    learn, judged = (samples.subset(order[part].sort().values) for part in (~test, test))
    copies = order[test].sort().values[leaks.shared(learn, judged)]
    test &= ~torch.isin(order, copies)
    if not test.any():
        raise InputError(
            f"every sample of {samples.name} that would be judged has a copy among the others: give data of "
            f"different ones."
        )
    return order[~test].sort().values, order[test].sort().values


def _unlabelled(samples: Samples) -> str:
    """Why there are no labels, as far as the names of files tell, and the way out."""
    names = samples.names or []
    folders = {name.split("/")[0] for name in names if "/" in name}
    loose = sum("/" not in name for name in names)
    if folders and loose:
        return (
            f"{loose} of {len(names)} pictures of {samples.name} lie in no subfolder and so have no label: move each "
            f"into the folder of its class, or leave them out."
        )
    if len(folders) == 1:
        return (
            f"all {len(names)} pictures of {samples.name} are of one class, {folders.pop()}: two subfolders or more "
            f"are needed to tell apart."
        )
    return (
        f"{samples.name} has no labels to evaluate on: use a folder with one subfolder for each class, an .npz with "
        f"y_train and y_test, a table with a column label, or a known dataset."
    )


def halves(split: Split, *, seed: int) -> tuple[Samples, Samples]:
    """As `parts`, without labels: the data's own test part, or `TEST_SHARE` of all, drawn by `seed`."""
    if split.test is not None:
        return split.train, split.test
    order = random.permutation(len(split.train), seed, 0)
    count = max(1, round(len(order) * TEST_SHARE))
    return split.train.subset(order[count:].sort().values), split.train.subset(order[:count].sort().values)


def describe(split: Split, train: Samples, test: Samples, *, seed: int) -> dict[str, Any]:
    """How the parts came about, for a protocol: the rule, their sizes, and what was chosen on what."""
    own = split.test is not None and split.test.labels is not None
    rule = "the data's own test part" if own else f"{TEST_SHARE:.0%} of each class, drawn by seed {seed}"
    chosen = "penalties of probes within the training labels; nothing on the test part"
    return {"split": rule, "train": len(train), "test": len(test), "chosen": chosen}
