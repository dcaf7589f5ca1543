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

    - "random": each set of tokens is as likely.
    - "block": rectangles (`blocks`).
    - "inverse block": all but rectangles, so that what is seen hangs together (Baevski et al. 2023, "data2vec 2.0",
      arXiv 2212.07525, section 3).
    - "tube": the same random places in every frame of a clip, since neighbouring frames give away what is hidden in
      one alone (Tong et al. 2022, "VideoMAE", arXiv 2203.12602, section 3.2).
    - "span": runs of neighbours in a sequence (`spans`).

    Raises:
        InputError: The share is not in [0, 1], or leaves or hides nothing of so few tokens; or a kind is unknown, or
            does not fit the grid.
    """
    total = prod(grid)
    count = round(share * total)
    if kind not in get_args(Kind):
        raise unknown("kind of mask", kind, get_args(Kind))
    if not 0 < count < total:
        raise InputError(f"a share of {share} hides {count} of {total} tokens: choose one that hides and leaves some.")
    if len(grid) != {"tube": 3, "span": 1}.get(kind, len(grid)):
        raise InputError(
            f"a mask of kind {kind!r} does not fit the grid {tuple(grid)}: spans are of sequences, tubes of clips."
        )
    if kind == "random":
        return scattered(key, total, count)
    if kind == "span":
        return spans(key, total, count)
    if kind == "tube":
        return scattered(key, total // grid[0], round(share * (total // grid[0]))).repeat(1, grid[0])
    plane = (grid[0], 1) if len(grid) == 1 else (grid[-2], grid[-1])
    frames = total // prod(plane)  # of a clip: the same block in every frame
    hidden = count if frames == 1 else round(share * prod(plane))
    kept = prod(plane) - hidden
    each = torch.full((len(key),), hidden if kind == "block" else kept, device=key.device)
    found = blocks(key, plane, each)
    return (found if kind == "block" else ~found).repeat(1, frames)


def scattered(key: Tensor, total: int, count: int) -> Tensor:
    """`count` of `total` tokens, every set of them as likely: (N, total) bool."""
    mask: Tensor = random.bits(key, total).argsort(dim=1, stable=True).argsort(dim=1) < count
    return mask


def spans(key: Tensor, total: int, count: int, *, stop: float = 0.2, longest: int = 10) -> Tensor:
    """Exactly `count` of `total` tokens, in runs of neighbours: (N, total) bool.

    Their lengths are geometric, cut at `longest`: a run ends after each token with probability `stop`, 3.8 tokens on
    average (Joshi et al. 2020, "SpanBERT", arXiv 1907.10529, section 3.1). A run that would hide too much is cut short.
    """
    mask = torch.zeros(len(key), total, dtype=torch.bool, device=key.device)
    place = torch.arange(total, device=key.device)
    attempts = 4 * (count // 3 + 1)
    for draws in random.uniform(key, attempts, 2).unbind(1):  # (N, 2)
        length = (torch.log1p(-draws[:, :1]) / math.log1p(-stop)).floor().add(1).clamp(max=min(longest, total))
        start = (draws[:, 1:] * (total + 1 - length)).floor()
        new = (start <= place) & (place < start + length) & ~mask
        room = count - mask.sum(dim=1, keepdim=True)
        mask |= new & (new.cumsum(dim=1) <= room)
    return _filled(mask, random.fold(key, 0), torch.full((len(key),), count, device=key.device))


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
    """Exactly `count` (N,) of each sample's T tokens, in rectangles: (N, T) bool.

    Blockwise masking (Bao et al. 2022, "BEiT", arXiv 2106.08254, section 2.3 and algorithm 1): rectangles, which may
    overlap, are added until enough is hidden. The area of each is uniform between 16 of 14 x 14 tokens (of other grids
    a third of the shorter side, squared, as in iBOT's code) and what is still missing. In BEiT the last one may hide
    more than was asked for; here one that would is passed over, the last are smaller, and what is missing after
    `ATTEMPTS` rectangles is hidden token by token.
    """
    rows, columns = (*grid, 1)[:2]
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
    rank = order.argsort(dim=1, stable=True).argsort(dim=1)  # of what is hidden: the last
    return hidden | (rank < (count - hidden.sum(dim=1))[:, None])


def some_blocks(key: Tensor, grid: Sequence[int], share: tuple[float, float]) -> Tensor:
    """Half of the samples show all their tokens, the others hide `blocks` of a share uniform in `share`: (N, T) bool.

    Zhou et al. 2022, "iBOT", arXiv 2111.07832, section 3.3.
    """
    least, most = share
    if not 0 <= least <= most <= 1:
        raise InputError(f"tokens hidden: {least} to {most} of all; give shares from 0 to 1, least first.")
    hides, drawn = random.uniform(key, 2).unbind(1)
    count = (hides < 0.5) * (least + (most - least) * drawn) * prod(grid)
    return blocks(random.fold(key, 0), grid, count.round())
