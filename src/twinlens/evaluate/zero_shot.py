"""Does a picture lie nearest to the text that names its class? No label is learnt from.

Radford et al. 2021, "Learning transferable visual models from natural language supervision", arXiv 2103.00020, section
3.1: a class is the mean of its prompts' embeddings, each of length 1 (section 3.1.4).
"""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate.baselines import CHANCE, MAJORITY, majority
from twinlens.evaluate.inputs import Features, as_features, as_labelled
from twinlens.evaluate.result import Labelled, Result, known, scored
from twinlens.nearest import top_k

PROMPTS = ("a photo of a {}.", "a photo of a big {}.", "a photo of a small {}.", "a blurry photo of a {}.")
"""Templates for photographs: the first three are of section 3.1.4, the last is a guess. Other data asks for others."""


def prompts(names: Sequence[str], templates: Sequence[str] = PROMPTS) -> list[list[str]]:
    """Every template filled with every name, a list for each of K names; an underscore in a name is a space.

    Raises:
        InputError: where there is no name or no template, or a template has not one {} to put a name in.
    """
    if not names or not templates:
        raise InputError(f"{len(names)} names in {len(templates)} templates: expected at least 1 of both.")
    for template in templates:
        if template.count("{}") != 1:
            raise InputError(
                f"template {template!r}: expected one {{}}, the place of the name of the class; put it in."
            )
    return [[template.replace("{}", name.replace("_", " ")) for template in templates] for name in names]


def zero_shot(features: Features, labels: ArrayLike, classes: Tensor) -> Result:
    """Accuracy of calling each of (N, D) by the nearest class by cosine, beside chance and the commonest class.

    `classes` (K, D) are embeddings of a text for each class, or (K, P, D) of P prompts for each; `labels` (N,) are
    numbers of rows of it. Of classes equally near the first counts. Chance is 1 / K, known rather than measured; the
    commonest class is that of these very labels, the most that one answer for all could reach. The interval is over
    samples, for the prompts as they are.

    Raises:
        InputError: where shapes do not fit together, a feature is not finite, or a label is not among 0 to K - 1.
    """
    x, y = as_labelled("test", Labelled(torch.as_tensor(features), torch.as_tensor(labels)))
    w = class_embeddings(classes).to(x.device)
    if w.shape[1] != x.shape[1]:
        raise InputError(
            f"embeddings of classes have {w.shape[1]} dimensions, features {x.shape[1]}: embed both with one encoder."
        )
    if wrong := int(((y < 0) | (y >= len(w))).sum()):
        raise InputError(
            f"{wrong} of {len(y)} labels are not among 0 to {len(w) - 1}: expected the number of a class's row; give "
            "an embedding for each class."
        )
    settings = {"similarity": "cosine", "classes": len(w), "prompts": classes.shape[1] if classes.ndim == 3 else 1}
    result = scored("zero-shot", top_k(normalize(x), w, 1)[1][:, 0] == y, settings)
    labels = y.cpu()
    return result.beside({CHANCE: known(CHANCE, 1 / len(w)), MAJORITY: majority(labels, labels)})


def class_embeddings(classes: Tensor) -> Tensor:
    """One embedding of length 1 for each class: (K, D) or (K, P, D) -> (K, D).

    Raises:
        InputError: where the shape is another, or a number is not finite.
    """
    if classes.ndim not in (2, 3) or 0 in classes.shape:
        raise InputError(
            f"embeddings of classes of shape {tuple(classes.shape)}: expected (K, D) or (K, P, D), all at least 1; "
            "give each class as many prompts."
        )
    rows = as_features("class", classes.flatten(0, -2)).view(classes.shape)
    unit = normalize(rows, dim=-1)
    return unit if unit.ndim == 2 else normalize(unit.mean(dim=1))
