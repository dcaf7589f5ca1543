"""What lies between samples, and along directions of the latent space: the real samples nearest to each point."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from twinlens.latent.interpolate import interpolate
from twinlens.latent.traverse import traverse
from twinlens.report.content import Content
from twinlens.report.pictures import drawn, grid, image, text, undrawable

ROUTES, STEPS, DIRECTIONS, REACH = 3, 9, 4, 3.0


def between(content: Content) -> str:
    """Great circles from one held-out sample to another, and the real samples that lie along each."""
    head = (
        '<h2>Between</h2><p class="about">From a first sample to a last one along the sphere, the real sample '
        "nearest to each point of the way, other than those two. A space that is laid out by what samples are passes "
        "through what lies between them; one that is not jumps.</p>"
    )
    return head + _shown(content, _routes)


def directions(content: Content) -> str:
    """From the mean of all samples along the directions in which they differ most."""
    head = (
        '<h2>Directions</h2><p class="about">From the mean of all samples, three standard deviations either way along '
        "each direction in which samples differ most (a principal component), the real sample nearest to each "
        "point.</p>"
    )
    return head + _shown(content, _traversals)


def _shown(content: Content, rows: Callable[[Content], Iterator[str]]) -> str:
    """The rows of pictures, or why there are none."""
    codes = content.embeddings
    if why := undrawable(codes):
        return why
    if len(codes) < 4 or codes.shape[1] < 2 or not np.linalg.norm(codes, axis=1).all() or not codes.std(axis=0).any():
        return '<p class="warning">Too few samples, or all embeddings are the same.</p>'
    made = "".join(rows(content))
    return grid(made, STEPS) if any(map(drawn, content.parts)) else f'<div class="ways">{made}</div>'


def _routes(content: Content) -> Iterator[str]:
    codes = content.embeddings
    ends = np.linspace(0, len(codes) - 1, min(2 * ROUTES, len(codes) // 2 * 2)).astype(np.intp).reshape(2, -1)
    for start, end in ends.T:
        others = np.delete(np.arange(len(codes)), (start, end))
        found = interpolate(codes[start], codes[end], codes[others], steps=STEPS).index.numpy()
        yield _row(content, np.concatenate(([start], others[found[1:-1]], [end])), (0, STEPS - 1))


def _traversals(content: Content) -> Iterator[str]:
    codes, count = content.embeddings, min(DIRECTIONS, content.embeddings.shape[1])
    found = traverse(codes.mean(axis=0), codes, steps=STEPS, reach=REACH, principal=True, count=count)
    for row in found.index.numpy():
        yield _row(content, row, ())


def _row(content: Content, index: NDArray[np.int64], ends: tuple[int, ...]) -> str:
    """Samples in a row, as pictures where they have any; else their first part, line by line, each sample once."""
    pictures = next((column for column in content.parts if drawn(column)), None)
    if pictures is not None:
        return "".join(
            image(pictures[i], f"sample {i}", "first" if place in ends else "", side=64)
            for place, i in enumerate(index.tolist())
        )
    kept = [place for place in range(len(index)) if not place or index[place] != index[place - 1]]
    lines = "".join(
        f"<li{' class=end' if place in ends else ''}>{text(str(content.thumbnails[index[place]]))}</li>"
        for place in kept
    )
    return f'<ol class="texts">{lines}</ol>'
