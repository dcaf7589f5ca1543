"""The report's pictures: charts and maps as SVG that takes its colours from the page, samples as inline images.

No text of the user's reaches matplotlib, and none reaches the page without `escape`.
"""

import io
import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from twinlens.report.geometry import Floats, Group

Pixels = NDArray[np.uint8]

COLOURS = ("#0b0b0b", "#0c0c0c", "#0d0d0d", "#0e0e0e")  # stand-ins that `_svg` replaces by the page's variables
INK, LINE, ACCENT, SECOND = COLOURS
_VARIABLES = dict(zip(COLOURS, ("muted", "line", "accent", "second"), strict=True))
_POINTS = 300  # of a curve: about one for each pixel it gets
_LABEL, _WIDTH = 24, 270  # characters beside a point of the map, and the room they take
_MARKS = (  # paths about the origin, of about equal area
    "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0",
    "M-5.3-5.3h10.6v10.6h-10.6z",
    "M0-7.5L6.5 4.5h-13z",
    "M0-7.5L7.5 0L0 7.5L-7.5 0z",
)


def picture(pixels: Pixels, *, side: int = 96) -> str:
    """The address of (H, W, C) pixels as an inline WebP, shrunk to at most `side`; small ones keep every pixel."""
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=max(image.size) <= 32, quality=88)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"


def curve(name: str, views: Floats, values: Floats, *, reference: float | None = None, from_zero: bool = False) -> str:
    """A line of `values` over `views` processed, both (n,), and a dashed `reference`; gaps where not finite."""
    finite = np.where(np.isfinite(values), values, np.nan)
    parts = min(len(finite), _POINTS)
    x, y = (np.array([part.mean() for part in np.array_split(a, parts)]) for a in (views, finite))
    figure, axes = _axes()
    axes.plot(x, y, color=ACCENT, linewidth=1.6, marker="o" if parts < 30 else "", markersize=3.5)
    if reference is not None:
        axes.axhline(reference, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    if from_zero:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(EngFormatter(sep="") if np.nanmax(np.abs(y)) >= 1e4 else _plain())
    axes.set_xlabel("views", color=INK)
    return _svg(figure, name)


def spectrum(trained: Floats, untrained: Floats | None, rank: float | None) -> str:
    """Each eigenvalue's share of the variance over its place, both on logarithmic axes; the effective rank marked."""
    figure, axes = _axes(width=5.6, height=2.9, left=0.85)
    lines = [(trained, ACCENT, "this run"), (untrained, SECOND, "untrained")]
    for values, colour, label in lines:
        if values is not None:
            shares = values / values.sum()
            shares = shares[shares > 1e-12]  # below float32's rounding: dimensions that are not there
            marker = "o" if len(shares) < 30 else ""
            axes.loglog(1 + np.arange(len(shares)), shares, color=colour, linewidth=1.8, marker=marker, label=label)
    if rank is not None:
        axes.axvline(rank, color=INK, linewidth=1, linestyle=(0, (4, 3)), label=f"effective rank {rank:.3g}")
    axes.set_xlim(0.8, 1.25 * max(len(trained), rank or 1))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(_plain())
    axes.yaxis.set_major_formatter(_plain())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("eigenvalue, largest first", color=INK)
    axes.set_ylabel("share of the variance", color=INK)
    axes.legend(frameon=False, labelcolor=INK, loc="lower left")
    return _svg(figure, "spectrum")


def scatter(points: Floats, thumbnails: Pixels | None, groups: Sequence[Group], said: Sequence[str]) -> str:
    """A map of (M, 2) points in [0, 1], in groups, with a few of their (M, H, W, C) thumbnails, or else first words.

    What is `said` of each point comes up where the pointer rests; it may be empty.
    """
    spots = 1000 * points
    drawn = [
        f'<g class="hue{group.hue}"><title>{escape(group.name)}</title>'
        f"{_dots(spots[group.members], group.mark, [said[i] for i in group.members])}</g>"
        for group in groups
    ]
    beside = _words(spots, said) if thumbnails is None else _thumbnails(spots, thumbnails)
    return (
        f'<svg viewBox="-30 -30 1060 1060" role="img" aria-label="map of the embeddings">{"".join(drawn)}{beside}</svg>'
    )


def _thumbnails(spots: Floats, thumbnails: Pixels) -> str:
    drawn = ""
    for i in _spaced(spots):
        x, y = spots[i]
        drawn += (
            f'<g class="thumb" transform="translate({x - 30:.0f} {y - 30:.0f})"><rect width="60" height="60"/>'
            f'<image href="{picture(thumbnails[i])}" x="2" y="2" width="56" height="56"/></g>'
        )
    return drawn


def key(group: Group) -> str:
    """The mark of a group, for the legend."""
    path = f'<path d="{_MARKS[group.mark]}"/>'
    return f'<svg class="key hue{group.hue}" viewBox="-10 -10 20 20" aria-hidden="true">{path}</svg>'


def _dots(spots: Floats, mark: int, said: Sequence[str]) -> str:
    made = []
    for (x, y), words in zip(spots, said, strict=True):
        end = f"><title>{escape(words)}</title></path>" if words else "/>"
        made.append(f'<path transform="translate({x:.0f} {y:.0f})" d="{_MARKS[mark]}"{end}')
    return "".join(made)


def _words(spots: Floats, said: Sequence[str]) -> str:
    """First words beside some points, on the side where there is room."""
    drawn = ""
    right = spots[:, 0] > 700  # where words would leave the map
    starts = spots - np.column_stack((np.where(right, _WIDTH, 0), np.zeros(len(spots))))
    for i in _spaced(starts, across=_WIDTH, gap=30, most=24):
        (x, y), words = spots[i], said[i]
        short = words if len(words) <= _LABEL else f"{words[:_LABEL].rsplit(' ', 1)[0].rstrip('…')}…"
        side, anchor = (-12, "end") if right[i] else (12, "start")
        drawn += f'<text class="words" x="{x + side:.0f}" y="{y + 6:.0f}" text-anchor="{anchor}">{escape(short)}</text>'
    return drawn


def _spaced(points: Floats, *, gap: float = 100, across: float | None = None, most: int = 30) -> list[int]:
    """Places of points that are apart by `gap` up and down or `across`, so that what is drawn does not overlap."""
    chosen: list[int] = []
    least = np.array([across or gap, gap])
    for i, point in enumerate(points):
        if len(chosen) < most and all((np.abs(point - points[j]) > least).any() for j in chosen):
            chosen.append(i)
    return chosen


def _plain() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value:.5g}")


def _axes(width: float = 4.2, height: float = 2.3, left: float = 0.6) -> tuple[Figure, Axes]:
    """Axes of a size in inches, with fixed margins: a layout engine would draw everything twice."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, 0.5 / height, 1 - (left + 0.05) / width, 1 - 0.6 / height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(which="both", color=LINE, labelcolor=INK)
    axes.grid(color=LINE, linewidth=0.7)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    """The figure as an element of the page: its size and fonts are the page's, its ids are its own."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    viewport = re.search(r'viewBox="[^"]*"', text)
    assert viewport
    body = text[text.index(">", viewport.end()) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"font: [\d.]+px [^;\"]*", "font-size: 10px", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    return f'<svg {viewport[0]} role="img" aria-label="{escape(name)}">{body.strip()}'
