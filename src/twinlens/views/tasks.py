"""Pretext tasks: views that know their own answer. Adding a task is adding a function here, and its line in TASKS.

All are asked of pictures, and what is shown has the size of a view, so that an encoder made for those takes it.
"""

from collections.abc import Callable
from functools import cache
from itertools import permutations as every_permutation
from math import isqrt
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from twinlens.batch import Views
from twinlens.errors import InputError, unknown
from twinlens.random import bits, fold, uniform
from twinlens.views.lab import lab, middles, srgb

PERMUTATIONS = 100  # a guess for data smaller than ImageNet, for which Noroozi & Favaro take 1000
CELLS = 4  # colours are asked of so many cells along each side, as many as the small encoder's embedding keeps
_FLAT = 1e-4  # variance of a third of a grey level

Made = tuple[tuple[Tensor, ...], Tensor]
"""The views that are asked about, and the answer (N,), or (N, A) where there are A of them, each below `answers`."""


class Task(NamedTuple):
    """A question about a sample.

    `views` is what it is made of, `shown` how many views it shows, `answers` how many answers there are, `parts` how
    many it asks for at once (A), and `ask` turns views and each sample's key (N,) into those shown and the answer.
    `colour` says that it is a question of colour, which grey pictures cannot be asked.
    """

    views: Views
    shown: int
    answers: int
    ask: Callable[[tuple[Tensor, ...], Tensor], Made]
    parts: int = 1
    colour: bool = False


def find(name: str) -> Task:
    """The task of that name, or InputError with the nearest names."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def shown(views: Views) -> int:
    """How many views of a sample an encoder sees that are asked for in this way."""
    return find(views.task).shown if views.task else views.large + views.small


def rotation(made: tuple[Tensor, ...], key: Tensor) -> Made:
    """By how many quarter turns, against the clock, a picture was turned (Gidaris et al. 2018, arXiv 1803.07728).

    There all four copies of a picture are in a batch; here one is drawn.
    """
    (view,) = made
    turns = _draw(key, 4)
    twice, once = (turns >= 2)[:, None, None, None], (turns % 2 == 1)[:, None, None, None]
    view = torch.where(twice, view.flip(2, 3), view)
    return (torch.where(once, view.rot90(1, (2, 3)), view).contiguous(),), turns


def jigsaw(made: tuple[Tensor, ...], key: Tensor) -> Made:
    """Which permutation shuffled nine tiles (Noroozi & Favaro 2016, arXiv 1603.09246); place i shows tile p[i].

    The tiles are put together into one picture, as in Carlucci et al. 2019, arXiv 1903.06864, section 3: an encoder so
    learns from pictures of the size that it is made for. Against shortcuts a tile lies anywhere in its third of the
    view, of which it takes 64 pixels of 85 (Noroozi & Favaro's section on shortcuts). It is shown at its own scale,
    anywhere in another third, with nothing around it: enlarged to the whole third, as if edges had met, tiles taught
    less of small pictures. They keep their mean and deviation, as Carlucci et al.'s do: with those of every tile made
    alike (Noroozi & Favaro) the linear probe stood no higher, one seed.
    """
    (view,) = made
    answer = _draw(fold(key, 0), PERMUTATIONS)
    order = torch.from_numpy(permutations(PERMUTATIONS)).to(key.device)[answer]  # (N, 9)
    side = 64 / 85 / 3
    corners, at = (_corners(fold(key, draw), side, 1 / 6 - side / 2) for draw in (1, 2))
    return (_tiles(view, corners.gather(1, order[..., None].expand(-1, -1, 2)), at, side),), answer


def relative_position(made: tuple[Tensor, ...], key: Tensor) -> Made:
    """Where the second of two tiles lies beside the first (Doersch et al. 2015, arXiv 1505.05192): one of eight ways.

    The ways go row by row, from above on the left to below on the right. Tiles are 96 of 144 pixels, half a tile apart,
    and moved by up to 7 pixels (section 3.1 there); the view is two by two of them, as small pictures would leave
    little in a ninth. Each is shown at its own scale, anywhere in an empty view: an encoder so learns from what is as
    large as in the pictures it is made for. Two tiles of three are grey, since lenses bend colours away from the middle
    (section 3.2 keeps one channel, which is no picture; grey: Kolesnikov et al. 2019, arXiv 1901.09005).
    """
    (view,) = made
    answer = _draw(fold(key, 0), 8)
    place = answer + (answer >= 4)  # of nine; the middle is 4
    step = torch.stack((place % 3 - 1, place // 3 - 1), 1)  # (N, 2) of x, y
    first = torch.where(step == 0, (bits(fold(key, 1), 2) % 2).to(step), (step < 0).to(step))  # column, row
    side = 96 / 144 / 2
    shift = 7 / 144 / 2 * (2 * uniform(fold(key, 2), 2, 2) - 1)  # (N, 2, 2) of tiles and x, y
    corners = (torch.stack((first, first + step), 1) + 0.5) / 2 - side / 2 + shift
    anywhere = (1 - side) * uniform(fold(key, 3), 2, 2)
    grey = bits(fold(key, 4), 2) % 3 > 0  # (N, 2)
    tiles = [_tiles(view, corners[:, [tile]], anywhere[:, [tile]], side) for tile in (0, 1)]
    return tuple(_grey(tile, which) for tile, which in zip(tiles, grey.unbind(1))), answer


def colorization(made: tuple[Tensor, ...], key: Tensor) -> Made:
    """Which colours a grey picture had, cell by cell, row by row (Zhang et al. 2016, arXiv 1603.08511, section 2).

    A colour is the nearest of the `bins` to the mean a, b of a cell; the paper spreads it over five bins, of a pixel.
    """
    (view,) = made
    refuse_grey(view.shape[1])
    light, ab = lab((view + 2) / 4).split([1, 2], dim=1)  # (N, 1, H, W), (N, 2, H, W)
    cells = F.adaptive_avg_pool2d(ab, CELLS).flatten(2).transpose(1, 2)  # (N, A, 2)
    answer = (cells[:, :, None] - middles(cells)).square().sum(3).argmin(2)
    return ((light / 25 - 2).expand_as(view).contiguous(),), answer


def temporal_order(made: tuple[Tensor, ...], key: Tensor) -> Made:
    """Whether three of five moments are in order: 1, or 0 (Misra et al. 2016, arXiv 1603.08561, section 3).

    Of moments a to e, (b, c, d) are in order, (b, a, d) and (b, e, d) are not: what is shown first and last tells
    nothing. Half of the time they are in order, and half of the time the time runs backwards.
    """
    a, b, c, d, e = made
    ordered, early, backwards = (coin[:, None, None, None] for coin in (bits(key, 3) % 2 == 1).unbind(1))
    middle = torch.where(ordered, c, torch.where(early, a, e))
    return (torch.where(backwards, d, b), middle, torch.where(backwards, b, d)), ordered.flatten().long()


def refuse_grey(channels: int) -> None:
    """InputError where pictures have no colour to ask for."""
    if channels == 1:
        raise InputError("the pictures are grey, 1 channel, and colorization asks for colours: choose another --task.")


def coloured(grey: Tensor, chances: Tensor) -> Tensor:
    """A grey view (N, 3, H, W) in colours: the mean of the bins by their `chances` (N, A, K) in each cell, blended."""
    ab = (chances.to(grey) @ middles(grey)).transpose(1, 2).unflatten(2, (CELLS, CELLS))  # (N, 2, g, g)
    ab = F.interpolate(ab, size=grey.shape[2:], mode="bilinear")
    return srgb(torch.cat((25 * (grey[:, :1] + 2), ab), 1)) * 4 - 2


@cache
def permutations(count: int) -> NDArray[np.int64]:
    """`count` orders of nine tiles (count, 9) that differ in as many places as can be, from the identity on.

    Each is the first whose least distance from those before is largest. Noroozi & Favaro's algorithm 1 takes the
    largest sum of distances, which is the same for all after nine: of a hundred such, two differ in two tiles only,
    and can hardly be told apart. The first nine here are a Latin square; of a hundred, any two differ in six tiles.
    """
    every = np.array(list(every_permutation(range(9))), dtype=np.int8).T.copy()  # (9, 9!)
    chosen = [0]
    least = np.full(every.shape[1], 9, dtype=np.int8)
    while len(chosen) < count:
        least = np.minimum(least, (every != every[:, chosen[-1:]]).sum(0, dtype=np.int8))
        chosen.append(int(least.argmax()))
    return every[:, chosen].T.astype(np.int64)


def _draw(key: Tensor, below: int) -> Tensor:
    return bits(key, 1)[:, 0] % below


def _corners(key: Tensor, side: float, reach: float) -> Tensor:
    """Where nine tiles begin, (N, 9, 2) of x and y in shares of the view, row by row.

    They are `side` wide, in the middles of their thirds but for up to `reach` each way.
    """
    third = (torch.arange(3, device=key.device) + 0.5) / 3
    middle = torch.cartesian_prod(third, third).flip(1)  # (9, 2)
    return middle - side / 2 + reach * (2 * uniform(key, 9, 2) - 1)


def _tiles(view: Tensor, corners: Tensor, at: Tensor, side: float) -> Tensor:
    """The squares of a view (N, C, H, W) that begin at `corners` (N, K, 2), moved to `at` (N, K, 2) on nothing.

    Where they are moved to each lies in a cell of its own, of K in a square grid, row by row.
    """
    grid = isqrt(corners.shape[1])
    height, width = view.shape[2:]
    across, down = ((torch.arange(size, device=view.device) + 0.5) / size for size in (width, height))
    cell = (grid * down).long()[:, None] * grid + (grid * across).long()  # (H, W)
    pixel = torch.stack((across.expand(height, -1), down[:, None].expand(-1, width)), 2)  # (H, W, 2) of x and y
    start, to = (corner[:, cell.flatten()].unflatten(1, (height, width)) for corner in (corners, at))  # (N, H, W, 2)
    inside = ((pixel >= to) & (pixel < to + side)).all(3)
    place = (2 * (pixel - to + start) - 1).to(view)
    moved = F.grid_sample(view, place, padding_mode="border", align_corners=False)
    return torch.where(inside[:, None], moved, 0)


def _grey(tile: Tensor, which: Tensor) -> Tensor:
    """Tiles (N, C, H, W) of which those that `which` (N,) says have lost their colours."""
    if tile.shape[1] == 1:
        return tile
    return torch.where(which[:, None, None, None], tile.mean(1, keepdim=True), tile)


def _weak(task: str, large: int = 1, moving: bool = False) -> Views:
    return Views(large=large, strength="weak", moving=moving, task=task)


TASKS: dict[str, Task] = {
    "rotation": Task(_weak("rotation"), 1, 4, rotation),
    "jigsaw": Task(_weak("jigsaw"), 1, PERMUTATIONS, jigsaw),
    "relative_position": Task(_weak("relative_position"), 2, 8, relative_position),
    "colorization": Task(_weak("colorization"), 1, 260, colorization, parts=CELLS**2, colour=True),
    "temporal_order": Task(_weak("temporal_order", large=5, moving=True), 3, 2, temporal_order),
}
