"""Analogies: a is to b as d is to c, so a - b + c should be d.

Mikolov et al. 2013, "Linguistic regularities in continuous space word representations" (3CosAdd), and Levy and Goldberg
2014, "Linguistic regularities in sparse and explicit word representations" (3CosMul).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.latent.gallery import Codes, as_gallery
from twinlens.latent.score import Score, share

_EPSILON = 1e-3  # Levy and Goldberg 2014: against division by zero
_AT_ONCE = 2**24  # similarities


@dataclass(frozen=True, eq=False)
class Found:
    """Answers to each of Q questions, best first: their index in the gallery (Q, k) int64 and their score (Q, k)."""

    index: Tensor
    score: Tensor


def arithmetic(gallery: Codes, questions: Codes, *, k: int = 5, multiply: bool = False) -> Found:
    """The `k` real samples nearest to a - b + c for each row a, b, c of `questions` (Q, 3), indices into `gallery`.

    All codes (M, D) are brought to length 1. The score is the cosine with a - b + c (3CosAdd) or, with `multiply`,
    a' c' / (b' + 0.001) (3CosMul), where x' is the cosine with x moved to 0..1: no one similarity can drown the others.
    The three samples asked about are never the answer; of equal answers the lower index comes first, and a `k` above M
    - 3 is cut to it.

    Raises:
        InputError: where an index is not one of the gallery, which needs four samples or more.
    """
    unit = normalize(as_gallery(gallery))
    asked = _indices("questions", questions, 3, unit)
    if k < 1:
        raise InputError(f"k = {k}: expected at least 1 answer to each question.")
    k = min(k, len(unit) - 3)
    index, best = [], []
    for rows, score in _scores(unit, asked, multiply):
        score.scatter_(1, rows, -torch.inf)
        for _ in range(k):  # a maximum has the lower of equal indices, which topk does not promise
            value, place = score.max(dim=1, keepdim=True)
            index.append(place)
            best.append(value)
            score.scatter_(1, place, -torch.inf)
    return Found(_rows(index, k), _rows(best, k))


def analogy_accuracy(gallery: Codes, quadruples: Codes, *, multiply: bool = False) -> Score:
    """The share of rows a, b, c, d of `quadruples` (Q, 4) for which d is the first answer to a - b + c.

    Chance is 1 / (M - 3). The interval takes quadruples as independent, which they are not where they share samples.

    Raises:
        InputError: as `arithmetic` does, and where d is one of a, b, c, which are never the answer.
    """
    asked = _indices("quadruples", quadruples, 4, as_gallery(gallery))
    own = (asked[:, :3] == asked[:, 3:]).any(dim=1)
    if own.any():
        raise InputError(
            f"row {int(own.int().argmax())} of the quadruples answers with one of its own three samples, which are "
            "left out: expected four different samples."
        )
    found = arithmetic(gallery, asked[:, :3], k=1, multiply=multiply).index[:, 0]
    return share(int((found == asked[:, 3]).sum()), len(asked), chance=1 / (len(gallery) - 3))


def _scores(unit: Tensor, asked: Tensor, multiply: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Runs of questions (q, 3) and the score of every sample as their answer (q, M)."""
    for rows in asked.split(max(1, _AT_ONCE // len(unit))):
        a, b, c = unit[rows].unbind(1)  # each (q, D)
        if multiply:
            like_a, like_b, like_c = ((x @ unit.T + 1) / 2 for x in (a, b, c))
            yield rows, like_a * like_c / (like_b + _EPSILON)
        else:
            yield rows, normalize(a - b + c) @ unit.T


def _rows(parts: list[Tensor], k: int) -> Tensor:
    """Columns (q, 1), k of them for each run of questions in turn -> (Q, k)."""
    return torch.cat([torch.cat(parts[start : start + k], dim=1) for start in range(0, len(parts), k)])


def _indices(name: str, given: Codes, width: int, unit: Tensor) -> Tensor:
    rows, count = torch.as_tensor(given), len(unit)
    if count < 4:
        raise InputError(f"the gallery has {count} codes: expected 4 or more, three to ask about and one to find.")
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows) or rows.is_floating_point():
        raise InputError(
            f"{name} are {rows.dtype} {tuple(rows.shape)}: expected integers (Q, {width}), indices into the gallery."
        )
    if not 0 <= rows.min() <= rows.max() < count:
        raise InputError(
            f"{name} run from {int(rows.min())} to {int(rows.max())}: expected 0 to {count - 1}, indices into the "
            "gallery."
        )
    return rows.to(unit.device, torch.int64)
