"""Samples in rows: what sections that show pictures share."""

from html import escape

import numpy as np

from twinlens.report.figures import Pixels, picture
from twinlens.report.geometry import Floats


def columns(count: int, before: str = "") -> str:
    """The style of a grid of `count` pictures in a row, after a column of another width."""
    return f"grid-template-columns:{before} repeat({count},clamp(2.6rem,9vw,5.5rem))"


def grid(cells: str, count: int) -> str:
    """Cells in rows of `count`."""
    return f'<div class="wide"><div class="grid" style="{columns(count)}">{cells}</div></div>'


def image(pixels: Pixels, alt: str, style: str = "", *, side: int = 96) -> str:
    """A picture (H, W, C), shrunk to at most `side`; small ones keep their pixels."""
    small = "small" if max(pixels.shape[:2]) <= 64 else ""
    return f'<img class="{f"{small} {style}".strip()}" src="{picture(pixels, side=side)}" alt="{escape(alt)}">'


def undrawable(embeddings: Floats) -> str:
    """Why there is nothing to draw, if so."""
    if not len(embeddings):
        return '<p class="warning">No sample was held out.</p>'
    if not np.isfinite(embeddings).all():
        return '<p class="warning">The embeddings hold values that are not finite.</p>'
    return ""
