"""Negatives chosen by how similar they are, in blocks of rows: no list of pairs, no N x M matrix."""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError, unknown

Kind = Literal["hard", "semi-hard", "easy", "mixed"]
BLOCK = 2**21  # similarities at a time: choosing among them takes about 110 MiB


class Mined(NamedTuple):
    """Chosen candidates for each of N anchors.

    `index` (N, count) int64 are rows of the candidates; `found` (N, count) bool is False, and the index 0, where an
    anchor has fewer negatives. For a loss, what was not found takes the anchor's own id, and so is no negative:

        info_nce(
            anchors, positive, candidates[mined.index], ids=ids,
            negative_ids=candidate_ids[mined.index].where(mined.found, ids[:, None]),
        )
    """

    index: Tensor  # type: ignore[assignment]  # tuple.index is not missed
    found: Tensor


@torch.no_grad()
def mine(
    anchors: Tensor, candidates: Tensor | None = None, *, count: int, ids: Tensor, candidate_ids: Tensor | None = None,
    kind: Kind = "hard", skip: int | float = 0, hard_share: float = 0.5, positive: Tensor | None = None,
    bound: float | None = None,
) -> Mined:  # fmt: skip
    """`count` negatives for each of `anchors` (N, D) among `candidates` (M, D), by cosine; by default the anchors.

    Candidates whose `candidate_ids` (M,) equal the anchor's of `ids` (N,) are never negatives (the same sample, or one
    of the same label), nor are those whose cosine is above `bound`. Of the rest come first:

    - "hard": the most similar;
    - "semi-hard": the most similar of those less similar than the anchor's row of `positive` (N, D) (Schroff et al.
      2015, arXiv 1503.03832, section 3.2);
    - "easy": the least similar;
    - "mixed": `hard_share` of them hard, and then, of what is left, easy.

    Equally similar ones come by lower index. The first `skip` in that order (of "mixed": of the hard) are passed over,
    since the very hardest are often false negatives: a number, or a share of M in [0, 1). Takes no gradient; time is
    O(N M D), and memory that of a block of rows.
    """
    a = _unit("anchors", anchors)
    c = a if candidates is None else _unit("candidates", candidates, width=a.shape[1]).to(a)
    own = _ids("ids", ids, a)
    theirs = own if candidates is None and candidate_ids is None else _ids("candidate_ids", candidate_ids, c)
    hard, passed = _sizes(kind, count, skip, hard_share, len(c))
    limit = math.inf if bound is None else bound
    nearer = _positives(a, positive) if kind == "semi-hard" else None

    def block(run: slice) -> Mined:
        s = a[run] @ c.T
        allowed = (own[run, None] != theirs) & (s <= limit)  # what is not a number is never chosen
        if nearer is not None:
            allowed &= s < nearer[run, None]
        first = _first(-s if kind == "easy" else s, allowed, passed + hard)
        index, found = (x[:, passed:] for x in first)
        if hard < count:
            rest = _first(-s, allowed.scatter(1, first.index, False), count - hard)
            index, found = torch.cat((index, rest.index), 1), torch.cat((found, rest.found), 1)
        return Mined(index.where(found, 0), found)

    # Made before the blocks: small results made among large blocks keep their memory from being used again (400 MiB).
    index = torch.zeros(len(a), count, dtype=torch.int64, device=a.device)
    found = torch.zeros_like(index, dtype=torch.bool)
    rows = max(1, BLOCK // len(c))
    with torch.autocast(a.device.type, enabled=False):
        for start in range(0, len(a), rows):
            run = slice(start, start + rows)
            index[run], found[run] = block(run)
    return Mined(index, found)


def _first(order: Tensor, allowed: Tensor, k: int) -> Mined:
    """The `k` allowed columns of `order` (n, M) with the largest values, largest first, equal ones by lower index.

    Value and index are ranked as one integer, so that no order is left to chance: four times faster than a stable sort.
    Values in [-1, 1] are told apart to 2^(bits of M - 62).
    """
    m = order.shape[1]
    scale = 2 ** (62 - m.bit_length())
    rank = (order * scale).long().masked_fill_(~allowed, -2 * scale)
    rank.mul_(m).add_(torch.arange(m - 1, -1, -1, device=order.device))
    index = m - 1 - rank.topk(k).values % m
    return Mined(index, allowed.gather(1, index))


def _sizes(kind: Kind, count: int, skip: int | float, hard_share: float, m: int) -> tuple[int, int]:
    """How many are chosen as hard, or as the kind says, and how many before them are passed over."""
    if kind not in get_args(Kind):
        raise unknown("kind of negatives", kind, get_args(Kind))
    if not 1 <= count <= m:
        raise InputError(f"count is {count}: expected from 1 to {m}, the number of candidates.")
    if not 0 <= hard_share <= 1:
        raise InputError(f"hard_share is {hard_share}: expected a share in [0, 1].")
    if isinstance(skip, float) and not 0 <= skip < 1:
        raise InputError(f"skip is {skip}: expected a share in [0, 1), or a whole number of candidates.")
    passed = int(skip * m + 0.5) if isinstance(skip, float) else skip
    if not 0 <= passed <= m - count:
        raise InputError(
            f"skip is {skip} and count {count}: expected 0 or more, and {m} candidates for both; lower one."
        )
    return int(hard_share * count + 0.5) if kind == "mixed" else count, passed


def _unit(name: str, z: Tensor, width: int | None = None) -> Tensor:
    """Rows of length 1 at float32 or above."""
    if z.ndim != 2 or not z.numel() or z.shape[1] != (width or z.shape[1]):
        raise InputError(f"{name} has shape {tuple(z.shape)}: expected (N, {width or 'D'}) with one row or more.")
    if not z.is_floating_point():
        raise InputError(f"{name} is of {z.dtype}: expected floating-point embeddings; convert it with .float().")
    return normalize(z if z.dtype == torch.float64 else z.float())


def _ids(name: str, given: Tensor | None, z: Tensor) -> Tensor:
    if given is None or given.shape != z.shape[:1] or given.is_floating_point():
        what = "missing" if given is None else f"of shape {tuple(given.shape)} and {given.dtype}"
        raise InputError(f"{name} is {what}: expected one integer for each of the {len(z)} rows.")
    return given.to(z.device)


def _positives(a: Tensor, positive: Tensor | None) -> Tensor:
    """The cosine (N,) of each anchor with its positive."""
    if positive is None or positive.shape != a.shape:
        what = "missing" if positive is None else f"of shape {tuple(positive.shape)}"
        raise InputError(
            f"positive is {what}: expected {tuple(a.shape)}, a row for each anchor, for semi-hard negatives."
        )
    return (a * _unit("positive", positive).to(a)).sum(1)
