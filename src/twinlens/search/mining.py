"""Hard negatives: what the current encoder takes for near an anchor, and what is nevertheless not its positive.

The rules are those of sentence-transformers' `mine_hard_negatives`; margins to the positive's score are de Souza P.
Moreira et al. 2024, "NV-Retriever", arXiv 2407.15831, section 3: there a negative at most 95 % as near as the positive
(`relative` = 0.05) served best.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from twinlens import random
from twinlens.errors import InputError
from twinlens.nearest import top_k

_AT_ONCE = 4096  # anchors that are looked for together
_MORE = 32  # candidates beyond the window, in the place of those that are masked


def mine(
    anchors: Tensor, positives: Tensor, corpus: Tensor, *, count: int = 1, window: tuple[int, int] = (0, 100),
    between: tuple[float, float] = (-math.inf, math.inf), margin: float | None = None, relative: float | None = None,
    ids: tuple[Tensor, Tensor] | None = None, key: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Rows of `corpus` (M, D) that are hard negatives of `anchors` (N, D): (N, count) int64, -1 where there are less.

    Scores are cosines. The nearest first, or, with `key`, drawn at random among all that are allowed and then the
    nearest first.

    Args:
        anchors: Embeddings (N, D).
        positives: Embeddings (N, D), row i that of anchor i.
        corpus: Embeddings (M, D) of what may be a negative: the positives, if nothing else.
        count: Negatives of an anchor.
        window: First rank and the one after the last, from 0, of those that are not masked: the very nearest may be
            positives that nobody has marked. sentence-transformers counts ranks after the rules below are applied, here
            they are ranks of the encoder.
        between: The least and the highest score.
        margin: A negative's score is at most the positive's less this much.
        relative: A negative's score is at most the positive's less this share of it, of its absolute value: so also
            where a positive's score is below 0.
        ids: Of anchors (N,) or (N, A), several for each, and of the corpus (M,), int64. A row with an id of the
            anchor's is masked: it is a positive, or the same text. Give texts that are equal one id, as their scores
            may differ in the last digit. Fill rows up with any id that the corpus lacks. Without ids nothing is masked,
            a positive in the corpus neither.
        key: (N,) as of `random.keys`: what is drawn depends on it alone, not on the other anchors.

    Raises:
        InputError: where shapes do not fit together, a number is not finite or a setting out of range.
    """
    _check(anchors, positives, corpus, ids)
    _check_settings(count, window, margin, relative)
    bank = normalize(corpus.detach().float())
    groups = None if ids is None else (ids[0].view(len(anchors), -1).to(bank.device), ids[1].to(bank.device))
    found = []
    for rows in torch.arange(len(anchors), device=bank.device).split(_AT_ONCE):
        query, positive = (normalize(z[rows].detach().float()) for z in (anchors, positives))
        score, index = _window(query, bank, None if groups is None else (groups[0][rows], groups[1]), window)
        own = (query * positive).sum(1, keepdim=True)  # (n, 1)
        most = torch.full_like(own, between[1])
        if margin is not None:
            most = most.minimum(own - margin)
        if relative is not None:
            most = most.minimum(own - relative * own.abs())
        allowed = (index >= 0) & (score >= between[0]) & (score <= most)
        found.append(_pick(index, allowed, count, None if key is None else key[rows]))
    return torch.cat(found)


def _window(
    query: Tensor, bank: Tensor, groups: tuple[Tensor, Tensor] | None, window: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Scores and rows of the ranks within the window of those not masked: (n, D), (M, D) -> two of (n, width).

    A row of -1 fills up. How many of the nearest are masked is not known before: an anchor whose window is not full
    looks among more, twice as many of the masked each time.
    """
    start, end = window[0], min(window[1], len(bank))
    scores = query.new_full((len(query), max(end - start, 0)), -torch.inf)
    index = torch.full(scores.shape, -1, device=query.device)
    left, more = torch.arange(len(query), device=query.device), 0 if groups is None else _MORE
    while len(left) and end > start:
        score, row = top_k(query[left], bank, end + more)
        keep = torch.ones_like(row, dtype=torch.bool)
        if groups is not None:
            for own in groups[0][left].unbind(1):
                keep &= groups[1][row] != own[:, None]
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)[:, start:end]  # those kept first, as they were
        there = keep.gather(1, order)
        index[left] = torch.where(there, row.gather(1, order), -1)
        scores[left] = torch.where(there, score.gather(1, order), -torch.inf)
        if row.shape[1] == len(bank):
            break
        left, more = left[~there[:, -1]], 2 * more
    return scores, index


def _pick(index: Tensor, allowed: Tensor, count: int, key: Tensor | None) -> Tensor:
    """The first `count` allowed of each row, or as many drawn by `key`, in their order: (n, width) -> (n, count)."""
    if key is not None:  # a word of 32 bits for each place; those not allowed come last
        lot = torch.where(allowed, random.bits(key.to(index.device), index.shape[1]), 2**32)
        chosen = torch.zeros_like(allowed).scatter_(1, lot.argsort(dim=1, stable=True)[:, :count], True)
        allowed = allowed & chosen
    order = (~allowed).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]
    picked = torch.where(allowed, index, -1).gather(1, order)
    return torch.nn.functional.pad(picked, (0, count - picked.shape[1]), value=-1)


def _check(anchors: Tensor, positives: Tensor, corpus: Tensor, ids: tuple[Tensor, Tensor] | None) -> None:
    shapes = [tuple(z.shape) for z in (anchors, positives, corpus)]
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or shapes[0] != shapes[1] or shapes[2][1] != shapes[0][1]:
        raise InputError(
            f"anchors, positives and corpus of shapes {shapes[0]}, {shapes[1]} and {shapes[2]}: expected (N, D), (N, "
            "D) and (M, D), all at least 1; embed all with one encoder, a positive for each anchor."
        )
    for name, z in (("anchors", anchors), ("positives", positives), ("rows of the corpus", corpus)):
        if bad := int((~z.isfinite()).any(1).sum()):
            raise InputError(f"{bad} of {len(z)} {name} are not finite: the encoder has diverged.")
    if ids is not None:
        own, theirs = (tuple(part.shape) for part in ids)
        if len(own) not in (1, 2) or own[0] != len(anchors) or theirs != (len(corpus),):
            raise InputError(
                f"ids of shapes {own} and {theirs} for {len(anchors)} anchors and {len(corpus)} rows of the corpus: "
                f"expected ({len(anchors)},) or ({len(anchors)}, A), and ({len(corpus)},)."
            )


def _check_settings(count: int, window: tuple[int, int], margin: float | None, relative: float | None) -> None:
    if not 0 <= window[0] < window[1]:
        raise InputError(f"window = {window}: expected two ranks from 0 on, the second above the first, as (10, 100).")
    if not 1 <= count <= window[1] - window[0]:
        raise InputError(
            f"count = {count}: expected 1 to {window[1] - window[0]}, as many ranks as the window {window} has; widen "
            "it, or ask for less."
        )
    if margin is not None and margin < 0:
        raise InputError(f"margin = {margin}: expected 0 or more, by which the positive is nearer.")
    if relative is not None and not 0 <= relative <= 1:
        raise InputError(f"relative = {relative}: expected 0 to 1, a share of the positive's score, as 0.05.")
