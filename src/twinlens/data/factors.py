"""Pictures of one shape whose factors are known: drawn here, so that what an encoder makes of each can be measured.

After dSprites (Matthey et al. 2017), with colour, and with every combination a picture of its own: a square turned by a
quarter is itself, so half the labels of its rotation say nothing; an ellipse, a heart and an isosceles triangle are
not themselves again before half a turn, and rotation ends there.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinlens import random
from twinlens.batch import Split
from twinlens.data.arrays import Part, from_arrays
from twinlens.data.decode import Pixels
from twinlens.errors import InputError

NAMES = ("shape", "colour", "size", "rotation", "x", "y")
SHAPES = ("ellipse", "heart", "triangle")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")
SIZES = (len(SHAPES), len(COLOURS), 4, 12, 8, 8)
COMBINATIONS = int(np.prod(SIZES))
TRAIN, TEST = 20_000, 4_000

_RGB = np.array([(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255)], dtype=np.float64)
_RADIUS = np.linspace(0.12, 0.21, SIZES[2])  # of the circle around the shape, in widths of the picture
_PLACE = np.linspace(0.25, 0.75, SIZES[4])  # of its centre: the largest shape stays inside with a pixel to spare
_ANGLE = np.arange(SIZES[3]) * (np.pi / SIZES[3])
_TURN = np.round(np.stack((np.cos(_ANGLE), np.sin(_ANGLE))), 9)  # libraries differ in the last bits, pictures must not
_AT_ONCE = 2**19  # pixels
_LEAST = 8  # pixels

Numbers = NDArray[np.float64]


def draw(factors: NDArray[np.integer[Any]], *, side: int = 32) -> Pixels:
    """The pictures with these factors: (N, 6) -> (N, side, side, 3) uint8, on black, edges smoothed over one pixel.

    Columns are `NAMES`, values from 0 to below `SIZES`: size from small to large, rotation anticlockwise in steps of 15
    degrees, x to the right and y downwards. Sums, products and roots alone make them, so they are the same everywhere.

    Raises:
        InputError: where factors or the side are anything else.
    """
    if factors.ndim != 2 or factors.shape[1] != len(NAMES) or factors.dtype.kind not in "iu":
        raise InputError(
            f"factors are {factors.dtype} {factors.shape}: expected integers (N, {len(NAMES)}), {', '.join(NAMES)}."
        )
    for name, size, values in zip(NAMES, SIZES, factors.T):
        if len(values) and not 0 <= values.min() <= values.max() < size:
            raise InputError(
                f"{name} runs from {values.min()} to {values.max()}: expected 0 to {size - 1}; `SIZES` holds how many "
                "values each factor has."
            )
    if side < _LEAST:
        raise InputError(f"side is {side}: expected at least {_LEAST} pixels, below which shapes are not told apart.")
    out = np.empty((len(factors), side, side, 3), dtype=np.uint8)
    step = max(1, _AT_ONCE // side**2)
    for shape, distance in enumerate((_ellipse, _heart, _triangle)):
        rows = np.flatnonzero(factors[:, 0] == shape)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            _, colour, size, rotation, x, y = factors[some].T
            u, v = _own(_PLACE[x], _PLACE[y], _RADIUS[size], _TURN[:, rotation], side)  # (n, H, W)
            cover = (0.5 - distance(u, v) * (_RADIUS[size] * side)[:, None, None]).clip(0, 1)
            out[some] = np.rint(cover[..., None] * _RGB[colour][:, None, None])
    return out


def sample(count: int, seed: int) -> NDArray[np.int64]:
    """`count` combinations of factors drawn by `seed`, no two of them alike: (count, 6) int64.

    Raises:
        InputError: where there are fewer combinations.
    """
    if not 1 <= count <= COMBINATIONS:
        raise InputError(f"count is {count}: expected 1 to {COMBINATIONS:,}, as many combinations of factors as exist.")
    chosen = random.permutation(COMBINATIONS, seed, 0)[:count].numpy()
    return np.stack(np.unravel_index(chosen, SIZES), axis=1).astype(np.int64)


def parts(seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The factors of the pictures to learn from, (20000, 6), and of those held out, (4000, 6): none is in both."""
    both = sample(TRAIN + TEST, seed)
    return both[:TRAIN], both[TRAIN:]


def split() -> Split:
    """The data set known as `factors`: the pictures of `parts()`, their shape as label."""
    train, test = (Part(draw(factors), factors[:, 0]) for factors in parts())
    return from_arrays("factors", train, test, classes=SHAPES)


def _own(x: Numbers, y: Numbers, radius: Numbers, turn: Numbers, side: int) -> tuple[Numbers, Numbers]:
    """Each pixel as the shape sees it, right and up, in radii: x, y, radius (n,), turn (2, n) -> two of (n, H, W)."""
    centre = (np.arange(side) + 0.5) / side
    cos, sin = turn[..., None, None] / radius[:, None, None]  # each (n, 1, 1)
    right = centre[None, None, :] - x[:, None, None]  # (n, 1, W)
    up = y[:, None, None] - centre[None, :, None]  # (n, H, 1)
    return cos * right + sin * up, cos * up - sin * right


def _ellipse(u: Numbers, v: Numbers) -> Numbers:
    """Signed distance, to first order, from an ellipse with half axes 1 and 1/2: its equation over its slope."""
    value = np.sqrt(u**2 + (2 * v) ** 2)
    slope = np.sqrt(u**2 + (4 * v) ** 2)
    return (value - 1) * np.maximum(value, 1e-12) / np.maximum(slope, 1e-12)  # not 0 / 0 at the centre


def _heart(u: Numbers, v: Numbers) -> Numbers:
    """Signed distance from a heart: a square on its tip, half a circle on each of its upper sides.

    The square's corners are (0, 0), (±1/2, 1/2) and (0, 1) in a unit of 1 / 0.63 radii, with the tip on the
    circle around the shape; its right half tells all.
    """
    scale, tip = 0.63, -1.0
    x, y = np.abs(u) * scale, (v - tip) * scale
    round_ = np.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - np.sqrt(0.125)
    along = np.maximum(x + y, 0) / 2  # the nearest point of the line from the tip, at 45 degrees
    straight = np.sqrt(np.minimum(x**2 + (y - 1) ** 2, (x - along) ** 2 + (y - along) ** 2)) * np.sign(x - y)
    return np.where(x + y > 1, round_, straight) / scale


def _triangle(u: Numbers, v: Numbers) -> Numbers:
    """Signed distance from an isosceles triangle with its corners on the circle, 1.5 times as tall as wide.

    The apex is (0, 1), the base runs from (-3/5, -4/5) to (3/5, -4/5); its right half tells all.
    """
    x = np.abs(u)
    along = ((x - 3 * (v - 1)) / 6).clip(0, 1)  # the nearest point of the side, from 0 at the apex to 1 at the base
    side = (x - 0.6 * along) ** 2 + (v - 1 + 1.8 * along) ** 2
    base = np.maximum(x - 0.6, 0) ** 2 + (v + 0.8) ** 2
    distance: Numbers = np.sqrt(np.minimum(side, base)) * np.sign(np.maximum(3 * x + v - 1, -0.8 - v))
    return distance
