"""Samples in rows: what sections that show samples share, pictures or texts."""

import re
from collections.abc import Sequence
from html import escape

import numpy as np

from twinlens.report.figures import Pixels, picture
from twinlens.report.geometry import Floats
from twinlens.report.shows import END, OTHER, SAME, SHOWN, Column

_MARKS = {SAME: "same", OTHER: "other"}
_MARKED = re.compile(f"([{SAME}{OTHER}])([^{SAME}{OTHER}{END}]*){END}")
_SIGNS = re.compile(f"[{SAME}{OTHER}{END}]")


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


def drawn(column: Column) -> bool:
    """Whether a column holds pictures, not lines."""
    return column.dtype.kind != "U"


def words(text: str, most: int = SHOWN) -> str:
    """A line without its marks, cut between words to about `most` characters: plain, not escaped."""
    text = _SIGNS.sub("", text)
    if len(text) <= most:
        return text
    return text[:most].rsplit(" ", 1)[0].rstrip("…") + "…"


def text(line: str) -> str:
    """A line as an element that reads in its own direction, with its marks."""
    inside = _MARKED.sub(lambda found: f'<mark class="{_MARKS[found[1]]}">{found[2]}</mark>', escape(str(line)))
    if _MARKED.search(str(line)) is None:
        inside = escape(words(str(line)))
    return f'<span class="text" dir="auto">{_SIGNS.sub("", inside)}</span>'


def cell(column: Column, i: int, alt: str, style: str = "", *, side: int = 96) -> str:
    """Sample `i` of a column: a picture with words in its place for who cannot see it, or a line."""
    return image(column[i], alt, style, side=side) if drawn(column) else text(column[i])


def sheet(titles: Sequence[str], shown: Sequence[Column], *, rows: int, real: Sequence[int] = (0,)) -> str:
    """A row for each of the first `rows` samples: pictures in a grid, a table as soon as there are words among them.

    The `real` columns hold what is a sample, not made.
    """
    count = min(rows, len(shown[0]))
    if all(map(drawn, shown)):
        heads = "".join(f"<span>{escape(title)}</span>" for title in titles)
        return grid(heads + "".join(_rows(titles, shown, count, real, "")), len(shown))
    heads = "".join(
        f'<th scope="col"{_wide(column)}>{escape(title)}</th>' for title, column in zip(titles, shown, strict=True)
    )
    body = "".join(f"<tr>{row}</tr>" for row in _rows(titles, shown, count, real, "td"))
    return f'<div class="wide"><table class="lines"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _rows(titles: Sequence[str], shown: Sequence[Column], count: int, real: Sequence[int], tag: str) -> list[str]:
    made = []
    for i in range(count):
        row = [cell(column, i, titles[c], "first" if c in real else "") for c, column in enumerate(shown)]
        made.append("".join(f"<td{_wide(shown[c])}>{one}</td>" if tag else one for c, one in enumerate(row)))
    return made


def _wide(column: Column) -> str:
    return ' class="picture"' if drawn(column) else ""


def undrawable(embeddings: Floats) -> str:
    """Why there is nothing to draw, if so."""
    if not len(embeddings):
        return '<p class="warning">No sample was held out.</p>'
    if not np.isfinite(embeddings).all():
        return '<p class="warning">The embeddings hold values that are not finite.</p>'
    return ""
