"""Views of pictures: random crops, flips, colours and blur, from uint8, batched on the device."""

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from twinlens.batch import Maker, Raw, Views
from twinlens.errors import InputError
from twinlens.random import fold, uniform
from twinlens.views.colour import colour_map, recolour, solarize
from twinlens.views.resample import DRAWS, central_box, gaussian, locate, random_box, resize

_JITTER = (0.8, 0.8, 0.8, 0.2)  # brightness, contrast, saturation, hue at strength 1 (SimCLR, appendix A)
_SIGMA = 2 / 224  # SimCLR, appendix A: at most 2 pixels, at least a twentieth of that, in views of 224 pixels
_WEAK_SCALE = 0.2  # He et al. 2022, "Masked autoencoders are scalable vision learners", published settings
_MOVING = 0.25  # a guess: smaller boxes have little in common, and those of more than 1 - 0.25 nowhere to go
_WORK = {"cpu": 2**22}  # bytes in work at a time: on a processor what its caches hold, elsewhere a gigabyte


class Recipe(NamedTuple):
    """How one view is drawn: its size, the range of its area, and the strength or the share of each change."""

    size: int
    area: tuple[float, float]
    flip: float
    jitter: float = 0.0
    jitter_share: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0
    chroma: float = 1.0  # strength of the jitter of saturation beside that of the others


class Changes(NamedTuple):
    """What was drawn for each of N pictures."""

    box: Tensor  # (N, 4) left, top, width, height as shares of the picture
    flip: Tensor  # (N,) bool
    colour: Tensor  # (N, 4) factors of brightness, contrast, saturation; hue in turns
    kernel: Tensor | None = None  # (N, 2r + 1)
    solarize: Tensor | None = None  # (N,) bool


class ImageViews(Maker):
    """Random resized crops with changes of colour, as in SimCLR (Chen et al. 2020, arXiv 2002.05709, appendix A).

    Strong views are SimCLR's. Weak ones are crops of at least a fifth of the area, and flips, as for MAE. Asymmetric
    ones are BYOL's (Grill et al. 2020, arXiv 2006.07733, appendix B, table 6): saturation is jittered half as far; the
    second large view is rarely blurred and sometimes solarized, all others are blurred.

    Raw pictures are (pixels (N, H, H, C) uint8, aspect (N,)), squashed to a square from a true width / height of
    `aspect`; boxes are drawn in the true geometry. Views are (N, C, S, S) in [-2, 2], 0 being middle grey, in plain
    memory order: convolutions like channels last, patches do not, so that is for the encoder to choose. A view is a
    function of its picture and key alone: on a processor to the bit, whatever the batch; on a GPU, where the size of
    the batch may choose the kernel, up to rounding.

    Moving views are what a camera sees on a straight way over the picture, at an even pace, all mirrored or none, and
    without changes of colour. Its first and last boxes are drawn as those of weak views, but of `min_scale` of the
    picture, a quarter at least, to twice that, nine tenths at most, which leaves it room to move; and their places
    differ, along both axes, by a quarter to three quarters of that room: by default by some 2 to 18 of 32 pixels. In
    pictures so wide or tall that no such box fits, it stands still.

    Args:
        size: Side of a large view in pixels.
        small_size: Side of a small view; unless given 3/7 of `size` (SwAV: 96 of 224) to the nearest multiple of 16.
        min_scale: Least area of a large view as a share of the picture (SimCLR, appendix A); 0.2 or more if weak (MAE).
        small_scale: Least and largest area of a small view as shares of the picture (SwAV's published settings).
        flip: Share of views that are mirrored (SimCLR, appendix A).
        jitter: Strength of colour jitter (SimCLR: 1 for ImageNet, appendix A, and 0.5 for CIFAR-10, appendix B.9).
        jitter_share: Share of views with colour jitter (SimCLR, appendix A).
        grey: Share of views without colour (SimCLR, appendix A).
        blur: Share of views that are blurred (SimCLR, appendix A); BYOL's asymmetric ones take 2 and 0.2 times it.
        solarize: Share of second asymmetric views that are solarized (BYOL, appendix B, table 6).

    Raises:
        InputError: A share or a scale is not in [0, 1], or a size or a strength is not positive.
    """

    takes = 2

    def __init__(
        self,
        *,
        size: int = 32,
        small_size: int | None = None,
        min_scale: float = 0.08,
        small_scale: tuple[float, float] = (0.05, 0.14),
        flip: float = 0.5,
        jitter: float = 0.5,
        jitter_share: float = 0.8,
        grey: float = 0.2,
        blur: float = 0.5,
        solarize: float = 0.2,
    ) -> None:
        self._large = Recipe(size, (min_scale, 1.0), flip, jitter, jitter_share, grey, blur, solarize)
        nearest = max(16, 16 * round(size * 3 / 7 / 16))
        self._small = Recipe(nearest if small_size is None else small_size, small_scale, flip)
        least = min(max(min_scale, _MOVING), 1 - _MOVING)
        self._moving = Recipe(size, (least, min(2 * least, 0.9)), flip)
        for recipe in (self._large, self._small, self._moving):
            _check(recipe)

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"size": self._large.size}

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        pixels, aspect = raw
        recipes = self.recipes(views)
        changes = [draw(fold(key, i), aspect, recipe) for i, recipe in enumerate(recipes)]
        if views.moving:
            changes[: views.large] = travel(fold(key, 0), aspect, self._moving, views.large)
        return tuple(render(pixels, each, recipe.size) for each, recipe in zip(changes, recipes, strict=True))

    def clean(self, raw: Raw) -> Tensor:
        pixels, aspect = raw
        plain = aspect.new_tensor([1, 1, 1, 0]).expand(len(aspect), -1)
        return render(
            pixels, Changes(central_box(aspect), torch.zeros_like(aspect, dtype=torch.bool), plain), self._large.size
        )

    def recipes(self, views: Views) -> list[Recipe]:
        """A recipe for each of the `views`, the large ones first."""
        first = second = self._large._replace(solarize=0.0)
        if views.strength == "weak":
            first = second = Recipe(first.size, (max(first.area[0], _WEAK_SCALE), 1.0), first.flip)
        elif views.strength == "asymmetric":
            first = first._replace(chroma=0.5, blur=min(1.0, 2 * self._large.blur))
            second = first._replace(blur=0.2 * self._large.blur, solarize=self._large.solarize)
        small = first._replace(size=self._small.size, area=self._small.area)
        return [first, second, *[first] * views.large][: views.large] + [small] * views.small


def draw(key: Tensor, aspect: Tensor, recipe: Recipe) -> Changes:
    """The changes that `recipe` and the counted randomness of `key` (N,) give to pictures of true `aspect` (N,)."""
    draws = uniform(key, DRAWS + 10)
    box = random_box(draws[:, :DRAWS], aspect, recipe.area)
    amounts = draws[:, DRAWS : DRAWS + 4]
    flip, jitter, grey, blur, softness, solarized = draws[:, DRAWS + 4 :].unbind(1)
    strength = recipe.jitter * draws.new_tensor(_JITTER) * draws.new_tensor([1, 1, recipe.chroma, 1])
    least = (1 - strength).clamp_min(0)  # as in torchvision: a factor is never negative
    factors = torch.where(jitter[:, None] < recipe.jitter_share, least + (1 + strength - least) * amounts, 1.0)
    brightness, contrast, saturation, hue = factors.unbind(1)
    colour = torch.stack((brightness, contrast, saturation * (grey >= recipe.grey), hue - 1), 1)
    kernel = None
    if recipe.blur > 0:
        most = _SIGMA * recipe.size
        kernel = gaussian(most * (0.05 + 0.95 * softness) * (blur < recipe.blur), ceil(3 * most))
    return Changes(
        box, flip < recipe.flip, colour, kernel, solarized < recipe.solarize if recipe.solarize > 0 else None
    )


def travel(key: Tensor, aspect: Tensor, recipe: Recipe, moments: int) -> list[Changes]:
    """What a camera sees at so many `moments` of its way over pictures, from `key` (N,) and their `aspect` (N,)."""
    draws = uniform(key, 2 * DRAWS + 1)
    first, last = draws[:, :DRAWS], draws[:, DRAWS:-1]
    place = (first[:, -2:] + 0.25 + 0.5 * last[:, -2:]) % 1  # by itself uniform, yet away from the first
    start = random_box(first, aspect, recipe.area)
    end = random_box(torch.cat((last[:, :-2], place), 1), aspect, recipe.area)
    still = Changes(start, draws[:, -1] < recipe.flip, aspect.new_tensor([1, 1, 1, 0]).expand(len(aspect), -1))
    return [still._replace(box=start.lerp(end, moment)) for moment in torch.linspace(0, 1, moments).tolist()]


def render(pixels: Tensor, changes: Changes, size: int) -> Tensor:
    """Pictures (N, H, H, C) uint8, changed -> (N, C, size, size) in [-2, 2].

    What is small is computed for all at once, pixels in chunks that stay in the cache.
    """
    samples, side, _, channels = pixels.shape
    kernel, solarized = changes.kernel, changes.solarize
    places = locate(changes.box, changes.flip, side, size, 0 if kernel is None else kernel.shape[1] // 2)
    matrix, weight = colour_map(changes.colour, channels)
    view = torch.empty((samples, channels, size, size), device=pixels.device)
    each = 16 * channels * max(side, size) ** 2  # bytes: about four arrays of floats are alive at a time
    chunk = max(2, _WORK.get(pixels.device.type, 2**30) // each)
    for start in range(0, samples, chunk):
        part = slice(start, start + chunk)
        resized = resize(pixels[part], places.of(part), size, None if kernel is None else kernel[part])
        recolour(resized, matrix[part], weight[part], out=view[part])
        if solarized is not None:
            view[part] = solarize(view[part], solarized[part])
    return view


def _check(recipe: Recipe) -> None:
    if recipe.size < 1:
        raise InputError(f"views of {recipe.size} pixels cannot be made: give a size of at least 1.")
    if not 0 < recipe.area[0] <= recipe.area[1] <= 1:
        least, most = recipe.area
        raise InputError(f"views of {least} to {most} of a picture's area: give shares above 0, up to 1, least first.")
    for name in ("flip", "jitter_share", "grey", "blur", "solarize"):
        if not 0 <= (share := getattr(recipe, name)) <= 1:
            raise InputError(f"{name}={share} is a share of the views: give a number from 0 to 1.")
    if recipe.jitter < 0:
        raise InputError(f"jitter={recipe.jitter} is a strength: give 0 or more.")
