"""Which tokens of a grid a method hides."""

import torch
from torch import Tensor

from twinlens import random
from twinlens.errors import InputError

ATTEMPTS = 10  # they leave 0.1 of 20 to 98 tokens on a grid of 14 x 14 to be hidden one by one (measured)
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


def blocks(key: Tensor, grid: tuple[int, int], count: Tensor, *, aspect: tuple[float, float] = ASPECT) -> Tensor:
    """Exactly `count` (N,) of each sample's T tokens, in rectangles: (N, T) bool, True is hidden.

    Blockwise masking (Bao et al. 2022, "BEiT", arXiv 2106.08254, section 2.3 and algorithm 1): rectangles, which may
    overlap, are added until enough is hidden. The area of each is uniform between 16 of 14 x 14 tokens (of other grids
    a third of the shorter side, squared, as in iBOT's code) and what is still missing. In BEiT the last one may hide
    more than was asked for; here one that would is passed over, the last are smaller, and what is missing after
    `ATTEMPTS` rectangles is hidden token by token.
    """
    least = (min(grid) // 3) ** 2
    mask = torch.zeros(len(key), *grid, dtype=torch.bool, device=key.device)
    for draws in random.uniform(key, ATTEMPTS, 4).unbind(1):  # (N, 4)
        missing = (count - mask.sum(dim=(1, 2))).float()  # (N,)
        area = torch.lerp(missing.clamp(max=least), missing, draws[:, 3])
        more = mask | rectangle(draws[:, :3], grid, area, aspect=aspect)
        mask = torch.where((more.sum(dim=(1, 2)) <= count)[:, None, None], more, mask)
    hidden = mask.flatten(1)  # (N, T)
    order = random.uniform(random.fold(key, 0), hidden.shape[1]).masked_fill(hidden, 1.0)
    rank = order.argsort(dim=1, stable=True).argsort(dim=1)  # of what is hidden: the last
    return hidden | (rank < (count - hidden.sum(dim=1))[:, None])


def some_blocks(key: Tensor, grid: tuple[int, int], share: tuple[float, float]) -> Tensor:
    """Half of the samples show all their tokens, the others hide `blocks` of a share uniform in `share`: (N, T) bool.

    Zhou et al. 2022, "iBOT", arXiv 2111.07832, section 3.3.
    """
    least, most = share
    if not 0 <= least <= most <= 1:
        raise InputError(f"tokens hidden: {least} to {most} of all; give shares from 0 to 1, least first.")
    hides, drawn = random.uniform(key, 2).unbind(1)
    count = (hides < 0.5) * (least + (most - least) * drawn) * (grid[0] * grid[1])
    return blocks(random.fold(key, 0), grid, count.round())
