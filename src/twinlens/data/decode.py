"""One picture file -> the pixels of a square and the aspect it had."""

import math
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

Pixels = NDArray[np.uint8]

VIEW = 64  # side of a view in pixels where the caller names none
_FORMATS = ("JPEG", "PNG", "WEBP")  # what a file may hold, whatever its name says: no other parser ever sees it
_GREY = {"1", "L", "LA", "I;16", "I"}
_ALREADY_SMALL = 96
_TURNS = {  # EXIF 2.32, table 6: what brings a picture stored with this orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Header(NamedTuple):
    """What a file says of its picture before it is decoded."""

    width: int
    height: int
    grey: bool


def measure(path: Path | BinaryIO) -> Header | None:
    """The header of a picture file, None if it has none that can be read."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return Header(*image.size, grey=image.mode in _GREY)
    except Exception:  # foreign bytes: the parsers raise a dozen unrelated types on them
        return None


def stored_side(sizes: NDArray[np.int64], size: int | None) -> int:
    """The side of the stored squares for pictures of `sizes` (N, 2) that become views of `size` pixels.

    Half as large again as a view, so that a crop of 44 % of the area is still not enlarged, but never much larger than
    the pictures are; pictures that are all one small square stay as they are.
    """
    first = sizes[0, 0]
    if first <= _ALREADY_SMALL and (sizes == first).all():
        return int(first)
    side = min(float(np.median(sizes.min(axis=1))), math.ceil(1.5 * (size or VIEW)))
    return max(8, 8 * math.floor(side / 8 + 0.5))


def decode(file: Path | BinaryIO, side: int, channels: int) -> tuple[Pixels, float] | None:
    """Pixels (S, S, C) and width / height of a picture as it is meant to be seen, None if it cannot be read."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            image.draft(None, (2 * side, 2 * side))  # JPEG only: decodes at 1/2, 1/4 or 1/8 of the size, still >= 2 S
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            square = squash(_flat(image), side)
    except Exception:  # as in `measure`
        return None
    if orientation in _TURNS:
        square = square.transpose(_TURNS[orientation])
    aspect = height / width if orientation in (5, 6, 7, 8) else width / height
    return np.asarray(square.convert("L" if channels == 1 else "RGB")).reshape(side, side, channels), aspect


def squash(image: Image.Image, side: int) -> Image.Image:
    """The whole picture as a square: averaged over boxes down to twice the side, then antialiased bilinear."""
    return image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _flat(image: Image.Image) -> Image.Image:
    """The picture as L or RGB: transparency on white, 16 bits scaled to 8."""
    if image.mode.startswith("I"):
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))  # 65535 / 255 = 257
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
