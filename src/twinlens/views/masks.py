"""Which tokens of a grid a method hides, of pictures, clips, sounds, texts or graphs: exactly as many as it says.

A grid is (T,) in a sequence, (rows, columns) in a picture and (frames, rows, columns) in a clip. Masks (N, T) are True
where a token is hidden, tokens read row by row, and are drawn from each sample's key alone.
"""

import math
from collections.abc import Sequence
from math import prod
from typing import Literal, get_args

import torch
from torch import Tensor

from twinlens import random
from twinlens.batch import PAD
from twinlens.errors import InputError, unknown

ATTEMPTS = 10  # they leave 0.1 of 20 to 98 tokens on a grid of 14 x 14 to be hidden one by one (measured)
Kind = Literal["random", "block", "inverse block", "tube", "span"]
ASPECT = (0.3, 1 / 0.3)  # least and largest height / width (Bao et al. 2022, algorithm 1)


def rectangle(draws: Tensor, grid: tuple[int, int], area: Tensor, *, aspect: tuple[float, float] = ASPECT) -> Tensor:
    """Rectangles of about `area` (N,) tokens each, from `draws` (N, 3) in [0, 1): (N, H, W) bool.

    log(height / width) is uniform over what of `aspect` fits into the grid, the place over all there are.
    """
    rows, columns = grid
    shape, down, across = draws.unbind(1)
    lowest, highest = area / columns**2, rows**2 / area  # height / width that fit
    least, most = lowest.clamp(min=aspect[0]).minimum(highest), highest.clamp(max=aspect[1]).maximum(lowest)
    ratio = torch.lerp(least.log(), most.log(), shape).exp()
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    return _run(down, height, rows)[:, :, None] & _run(across, width, columns)[:, None]


def _run(draw: Tensor, length: Tensor, among: int) -> Tensor:
    """`length` (N,) neighbours of `among` places: (N, among) bool."""
    start = (draw * (among + 1 - length)).floor()[:, None]
    place = torch.arange(among, device=draw.device)
    return (start <= place) & (place < start + length[:, None])


def hide(kind: Kind, key: Tensor, grid: Sequence[int], share: float) -> Tensor:
    """Hides the share `share` of each sample's T tokens, to the nearest whole number of them: (N, T) bool.

    Where frames of a clip hide the same, it is the share of a frame's tokens.

    - "random": each set of tokens is as likely.
    - "block": rectangles (`blocks`), the same in every frame of a clip.
    - "inverse block": all but rectangles, so that what is seen hangs together (Baevski et al. 2023, "data2vec 2.0",
      arXiv 2212.07525, section 3).
    - "tube": the same random places in every frame of a clip, since neighbouring frames give away what is hidden in
      one alone (Tong et al. 2022, "VideoMAE", arXiv 2203.12602, section 3.3).
    - "span": runs of neighbours in a sequence (`spans`).

    Raises:
        InputError: The share is not between 0 and 1, or leaves or hides nothing of so few tokens; or a kind is unknown,
            or does not fit the grid.
    """
    if kind not in get_args(Kind):
        raise unknown("kind of mask", kind, get_args(Kind))
    if len(grid) != {"tube": 3, "span": 1}.get(kind, len(grid)):
        raise InputError(
            f"a mask of kind {kind!r} does not fit the grid {tuple(grid)}: spans are of sequences, tubes of clips."
        )
    if not 0 < share < 1:
        raise InputError(f"a share of {share} of the tokens is hidden: expected one above 0 and below 1.")
    frames = 1 if kind in ("random", "span") else prod(grid[:-2])  # that hide the same
    total = prod(grid) // frames
    count = round(share * total)
    if not 0 < count < total:
        raise InputError(f"a share of {share} hides {count} of {total} tokens: choose one that hides and leaves some.")
    if kind == "span":
        return spans(key, total, count)
    if kind in ("random", "tube"):
        return scattered(key, total, count).repeat(1, frames)
    inside = torch.full((len(key),), count if kind == "block" else total - count, device=key.device)
    found = blocks(key, grid[-2:], inside)
    return (found if kind == "block" else ~found).repeat(1, frames)


def scattered(key: Tensor, total: int, count: int) -> Tensor:
    """`count` of `total` tokens, every set of them as likely: (N, total) bool."""
    return _rank(random.bits(key, total)) < count


def spans(key: Tensor, total: int, count: int, *, stop: float = 0.2, longest: int = 10) -> Tensor:
    """Exactly `count` of `total` tokens, in runs of neighbours: (N, total) bool.

    A run ends after each token with probability `stop`, and one of more than `longest` is never drawn: 3.8 tokens on
    average (Joshi et al. 2020, "SpanBERT", arXiv 1907.10529, section 3.1). Runs may overlap, and are added one by one
    until enough is hidden; the last is cut short.
    """
    longest, runs = min(longest, total), 4 * (count // 3 + 1)  # more than it takes, but for shares near 1
    ends, places = random.uniform(key, 2, runs).unbind(1)  # (N, R) each
    length = torch.log1p(ends * ((1 - stop) ** longest - 1)) / math.log1p(-stop)
    length = length.long().add(1).clamp(max=longest)[..., None]
    start = (places[..., None] * (total + 1 - length)).long()
    step = torch.arange(longest, device=key.device)
    number = torch.arange(runs, device=key.device)[:, None]
    number = torch.where(step < length, number, runs).flatten(1)  # (N, R * longest), each token's run; behind it: none
    token = (start + step).clamp(max=total - 1).flatten(1)
    first = torch.full((len(key), total), runs, device=key.device).scatter_reduce(1, token, number, "amin")  # (N, T)
    mask = (first < runs) & (_rank(first) < count)
    return _filled(mask, random.fold(key, 0), torch.full((len(key),), count, device=key.device))


def _rank(x: Tensor) -> Tensor:
    """How many of a row are smaller, or as small and before it: (N, T) -> (N, T) int64."""
    return x.argsort(dim=1, stable=True).argsort(dim=1)


def visible(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens that a mask (N, T) leaves, in order: (N, K) int64, and which of them are there, (N, K) bool.

    K is that of the sample with the most; the rows of others are filled up. For `TokenEncoder.tokens(view, keep,
    among=...)`, which then computes little of what is hidden, and gives what the sample would give by itself.
    """
    most = int((~mask).sum(dim=1).max())
    keep = mask.int().argsort(dim=1, stable=True)[:, :most]
    return keep, ~mask.gather(1, keep)


def enlarged(mask: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """A mask (N, T) of a grid of (rows, columns) as one of pixels: (N, 1, H, W) bool; each token covers its share."""
    rows, columns = (torch.arange(side, device=mask.device) * cells // side for side, cells in zip(size, grid))
    pixels: Tensor = mask.unflatten(1, grid)[:, None, rows[:, None], columns]
    return pixels


def blocks(key: Tensor, grid: Sequence[int], count: Tensor, *, aspect: tuple[float, float] = ASPECT) -> Tensor:
    """Exactly `count` (N,) of the T tokens of a sequence or a picture, in rectangles: (N, T) bool.

    Blockwise masking (Bao et al. 2022, "BEiT", arXiv 2106.08254, section 2.3 and algorithm 1): rectangles, which may
    overlap, are added until enough is hidden. The area of each is uniform between 16 of 14 x 14 tokens (of other grids
    a third of the shorter side, squared, as in iBOT's code) and what is still missing. In BEiT the last one may hide
    more than was asked for; here one that would is passed over, the last are smaller, and what is missing after
    `ATTEMPTS` rectangles is hidden token by token.
    """
    rows, columns = (*grid, 1) if len(grid) == 1 else grid
    least = max(1, (min(rows, columns) // 3) ** 2)
    mask = torch.zeros(len(key), rows, columns, dtype=torch.bool, device=key.device)
    for draws in random.uniform(key, ATTEMPTS, 4).unbind(1):  # (N, 4)
        missing = (count - mask.sum(dim=(1, 2))).float()  # (N,)
        area = torch.lerp(missing.clamp(max=least), missing, draws[:, 3])
        more = mask | rectangle(draws[:, :3], (rows, columns), area, aspect=aspect)
        mask = torch.where((more.sum(dim=(1, 2)) <= count)[:, None, None], more, mask)
    return _filled(mask.flatten(1), random.fold(key, 0), count)


def _filled(hidden: Tensor, key: Tensor, count: Tensor) -> Tensor:
    """A mask (N, T) that hides up to `count` (N,), and what is missing token by token."""
    order = random.uniform(key, hidden.shape[1]).masked_fill(hidden, 1.0)
    return hidden | (_rank(order) < (count - hidden.sum(dim=1))[:, None])  # what is hidden ranks last


def some_blocks(key: Tensor, grid: Sequence[int], share: tuple[float, float]) -> Tensor:
    """Half of the samples show all their tokens, the others hide `blocks` of a share uniform in `share`: (N, T) bool.

    Zhou et al. 2022, "iBOT", arXiv 2111.07832, section 3.3. All frames of a clip hide the same.
    """
    least, most = share
    if not 0 <= least <= most <= 1:
        raise InputError(f"tokens hidden: {least} to {most} of all; give shares from 0 to 1, least first.")
    hides, drawn = random.uniform(key, 2).unbind(1)
    count = (hides < 0.5) * (least + (most - least) * drawn) * prod(grid[-2:])
    return blocks(random.fold(key, 0), grid[-2:], count.round()).repeat(1, prod(grid[:-2]))


def deleted(key: Tensor, ids: Tensor, share: float) -> Tensor:
    """Ids (N, T) int64 without the share `share` of each row's own words, to the nearest whole number: (N, T) int64.

    What stays keeps its order and moves to the left, `batch.PAD` fills the rest up. Of a row that has words one stays
    at least. Every set of words is as likely, special tokens not excepted; `key` (N,) alone decides.

    Raises:
        InputError: The share is not in [0, 1].
    """
    gone = (ids < 0) | some_words(key, ids, share)
    place = gone.int().argsort(dim=1, stable=True)
    return ids.gather(1, place).masked_fill(gone.gather(1, place), PAD)


def some_words(key: Tensor, ids: Tensor, share: float) -> Tensor:
    """The share `share` of each row's own words, to the nearest whole number, but not all of them: (N, T) bool.

    `ids` (N, T) int64; every set of words is as likely.

    Raises:
        InputError: The share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share} of the words is asked for: expected one from 0 to 1.")
    there = ids >= 0
    length = there.sum(dim=1)
    count = (share * length.double()).round().long().minimum(length - 1)
    order = random.uniform(key, ids.shape[1]).masked_fill(~there, 1.0)  # below 1: what fills up ranks last
    return there & (_rank(order) < count[:, None])
