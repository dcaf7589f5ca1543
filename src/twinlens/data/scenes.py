"""Scenes composed of labelled pictures: what is in each and where is known to the pixel, from data without boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from twinlens import random
from twinlens.data.decode import Pixels, squash
from twinlens.data.pictures import Pictures
from twinlens.errors import InputError

THRESHOLD = 25  # a level of 255; what is above it is foreground, where pictures are on black
OVERLAP = 0.25
_TRIES = 10  # places for an object, until it is left out
_LOOKS = 1000  # pictures whose corners are looked at
_BRIGHTEST = 96  # level of the background; a guess: half of the foreground of Fashion-MNIST is brighter than 150
_OCTAVES = ((4, 0.4), (16, 0.3), (None, 0.3))  # cells along a side, None a cell for each pixel, and their weight

Numbers = NDArray[np.float32]
Owners = NDArray[np.int64]  # (H, W): 0 the background, i + 1 object i


@dataclass(frozen=True, eq=False)
class Scenes:
    """N scenes with at most M objects each.

    `pixels` (N, H, W, C) uint8. `boxes` (N, M, 4) float32 are left, top, right and bottom on the edges of pixels, so
    that right - left is a width; `labels` (N, M) int64 index into `classes` and are -1, boxes 0, where there is no
    object. `masks` (N, H, W) int64 are a pixel's class + 1, or 0 for the background.
    """

    name: str
    classes: tuple[str, ...]
    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def counts(self) -> Tensor:
        """The objects of each scene, (N,)."""
        return (self.labels >= 0).sum(1)


def compose(
    pictures: Pictures,
    count: int,
    *,
    side: int,
    objects: tuple[int, int] = (1, 4),
    scale: tuple[float, float] = (0.75, 1.25),
    overlap: float = OVERLAP,
    seed: int = 0,
) -> Scenes:
    """`count` scenes of `side` x `side` pixels, each with pictures pasted at random on a dim texture.

    An object is what a picture shows, its foreground: where pictures are on black, the pixels with a channel above
    `THRESHOLD`, and the background is seen through the rest; else the whole square. Pictures are on black where most of
    their corners are. A picture comes at `scale` times its side, uniformly, at a uniform place within the scene, later
    ones before earlier ones. The box of an object is tight around the pixels that are left of it to see.

    At most a share `overlap` of an object's pixels is hidden, and the boxes of two share at most that of the smaller:
    an object that does so nowhere in ten tries is left out, as is one without foreground, and the scene has fewer.

    A scene is a function of the pictures, its number and the seed. Parts of one data set (training and test) share no
    place and no background, whatever the seed.

    Raises:
        InputError: where pictures have no labels, or a setting cannot be followed.
    """
    _check(pictures, count, side, objects, scale, overlap)
    assert pictures.labels is not None
    most, channels = objects[1], pictures.shape[2]
    part = int.from_bytes(blake2b(pictures.fingerprint.encode(), digest_size=4).digest())
    key = random.keys(seed, part, torch.arange(count))  # (N,)
    number = objects[0] + random.bits(random.fold(key, 0), 1)[:, 0] % (most - objects[0] + 1)  # (N,)
    chosen = random.bits(random.fold(key, 1), most) % len(pictures)  # (N, M); 2^32 words are even enough
    draws = random.uniform(random.fold(key, 2), most, _TRIES, 3).numpy()  # scale; x, y in [0, 1)
    draws[..., 0] = scale[0] + (scale[1] - scale[0]) * draws[..., 0]
    black = _on_black(pictures)
    pixels = np.empty((count, side, side, channels), dtype=np.uint8)
    boxes, labels = np.zeros((count, most, 4), dtype=np.float32), np.full((count, most), -1)
    masks = np.zeros((count, side, side), dtype=np.int64)
    for n, some in enumerate(chosen):
        rows = some[: int(number[n])]
        pixels[n] = _texture(random.fold(key[n : n + 1], 3), side, channels)
        looks = pictures.fetch(rows)[0].cpu().numpy()
        placed, owner = _paste(pixels[n], looks, draws[n], black, overlap)
        here = pictures.labels[rows[placed].numpy()]
        labels[n, : len(placed)] = here
        boxes[n, : len(placed)] = tight(owner, len(placed))
        masks[n] = np.concatenate(([0], here + 1))[owner]
    classes = pictures.classes or tuple(map(str, range(int(pictures.labels.max()) + 1)))
    return Scenes(pictures.name, classes, *map(torch.from_numpy, (pixels, boxes, labels, masks)))


def tight(owner: Owners, count: int) -> Numbers:
    """The boxes (count, 4) around the pixels of objects 0 to `count` - 1, each of which has some."""
    out = np.empty((count, 4), dtype=np.float32)
    for i, box in enumerate(out):
        rows, columns = np.nonzero(owner == i + 1)
        box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return out


def _paste(canvas: Pixels, looks: Pixels, draws: Numbers, black: bool, overlap: float) -> tuple[list[int], Owners]:
    """Pastes what finds a place into `canvas` (H, W, C): which of the pictures (n, h, h, C) did, and who owns pixels.

    `draws` (M, tries, 3) hold the scale of each try and its place in the room that is left.
    """
    placed: list[int] = []
    areas: list[int] = []
    owner = np.zeros(canvas.shape[:2], dtype=np.int64)
    for i, look in enumerate(looks):
        for scale, x, y in draws[i]:
            resized = _resized(look, max(1, round(float(scale) * len(look))))
            left, top = (int(place * (len(canvas) - len(resized) + 1)) for place in (x, y))
            where = np.s_[top : top + len(resized), left : left + len(resized)]
            shown = resized.max(axis=2) > THRESHOLD if black else np.ones(resized.shape[:2], dtype=bool)
            then = owner.copy()
            then[where][shown] = len(placed) + 1
            if shown.any() and _apart(then, [*areas, int(shown.sum())], overlap):
                canvas[where][shown] = resized[shown]
                owner = then
                areas.append(int(shown.sum()))
                placed.append(i)
                break
    return placed, owner


def _apart(owner: Owners, areas: Sequence[int], overlap: float) -> bool:
    """Whether of each of the objects, of so many pixels, enough is to be seen, and boxes share little enough."""
    if any((owner == i + 1).sum() < (1 - overlap) * area for i, area in enumerate(areas)):
        return False
    boxes = tight(owner, len(areas))
    size = boxes[:, 2:] - boxes[:, :2]  # (n, 2)
    across = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])  # (n, n, 2)
    shared = across.clip(0).prod(axis=2)
    area = size.prod(axis=1)
    np.fill_diagonal(shared, 0)
    return bool((shared <= overlap * np.minimum(area[:, None], area)).all())


def _resized(look: Pixels, side: int) -> Pixels:
    if side == len(look):
        return look
    return np.asarray(squash(Image.fromarray(look.squeeze(2) if look.shape[2] == 1 else look), side)).reshape(
        side, side, -1
    )


def _on_black(pictures: Pictures) -> bool:
    rows = torch.arange(0, len(pictures), max(1, len(pictures) // _LOOKS))
    corners = pictures.fetch(rows)[0][:, [0, 0, -1, -1], [0, -1, 0, -1]]  # (n, 4, C)
    return bool((corners.amax(2) <= THRESHOLD).float().mean() > 0.5)


def _texture(key: Tensor, side: int, channels: int) -> Pixels:
    """Noise of three sizes, (side, side, C), each channel's own, from 0 to below `_BRIGHTEST`."""
    total = torch.zeros(channels, side, side)
    for octave, (cells, weight) in enumerate(_OCTAVES):
        cells = side if cells is None else cells
        noise = random.uniform(random.fold(key, octave), channels, cells, cells)  # (1, C, cells, cells)
        total += weight * F.interpolate(noise, size=(side, side), mode="bilinear", align_corners=False)[0]
    return (_BRIGHTEST * total).byte().permute(1, 2, 0).numpy()


def _check(
    pictures: Pictures, count: int, side: int, objects: tuple[int, int], scale: tuple[float, float], overlap: float
) -> None:
    if pictures.labels is None:
        raise InputError(
            f"{pictures.name} has no labels: expected pictures of known classes to compose scenes of; use a folder "
            "with one subfolder for each class, an .npz with labels, or a known dataset."
        )
    largest = round(scale[1] * pictures.shape[0])
    known: tuple[tuple[str, Any, bool, str], ...] = (
        ("count", count, count >= 1, "1 scene or more"),
        ("objects", objects, 0 <= objects[0] <= objects[1] >= 1, "the least and the largest number in a scene"),
        ("scale", scale, 0 < scale[0] <= scale[1], "the least and the largest, above 0"),
        ("overlap", overlap, 0 <= overlap < 1, "a share of 0 or more, below 1"),
        ("side", side, side >= largest, f"{largest} or more, the side of the largest picture at scale {scale[1]}"),
    )
    for name, value, good, expected in known:
        if not good:
            raise InputError(f"{name} = {value}: expected {expected}.")
