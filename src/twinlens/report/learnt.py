"""What a method has learnt to predict, to draw and to decode, as pictures or in words, where it has that."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens import random
from twinlens.batch import Maker, Raw, Samples, Views
from twinlens.data.load import tokenizer_of
from twinlens.encoders.contract import evaluating
from twinlens.errors import InputError
from twinlens.feed import create
from twinlens.latent.interpolate import lerp, slerp
from twinlens.method import Decodes, Generates, Method, Shows
from twinlens.report import pictures
from twinlens.report.content import Content
from twinlens.report.figures import Pixels
from twinlens.report.pictures import grid, image
from twinlens.report.shows import HIDDEN, alike, apart, cells, columns, compared, drawable, pack, readable
from twinlens.views.colour import pixels

SHEET, DRAWN, ACROSS, ROUTES, STEPS = 8, 32, 8, 3, 7
_AT_ONCE = 512  # codes that are decoded together


@torch.inference_mode()
def learnt(
    method: Method, held: Samples, maker: Maker, views: Views, *, seed: int, device: torch.device
) -> dict[str, NDArray[Any]]:
    """Arrays for report.npz: `shown` with its titles, `drawn` and `between`, each where there is something.

    The method runs in evaluation mode and is handed back in the mode it came in.
    """
    with evaluating(method):
        found = _shown(method, held, maker, views, seed, device) if isinstance(method, Shows) else {}
        if isinstance(method, Generates):
            (some,) = drawn(method, DRAWN, seed=seed, device=device)
            found |= {"drawn": pixels(some)} if drawable(some) else {}
        if isinstance(method, Decodes):
            found |= _between(method, held, maker, device)
    return found


def drawn(method: Generates, count: int, *, seed: int, device: torch.device) -> Iterator[Tensor]:
    """`count` samples from the prior, decoded, (N, *shape) at a time: the first are the same, however many follow."""
    for some in random.keys(seed, 0, torch.arange(count, device=device)).split(_AT_ONCE):
        yield method.decode(method.draw(some))


def _raw(samples: Samples, count: int, device: torch.device) -> tuple[Raw, Tensor]:
    """At most `count` samples, evenly spaced, and their places."""
    index = torch.linspace(0, len(samples) - 1, min(count, len(samples))).long()
    return tuple(tensor.to(device) for tensor in samples.fetch(index)), index.to(device)


def _shown(
    method: Shows, held: Samples, maker: Maker, views: Views, seed: int, device: torch.device
) -> dict[str, NDArray[Any]]:
    """`shown`, columns, and `shown_titles`: what the method shows of n samples, as in the first epoch.

    Rows of ids that are as long as the first are compared with it: it is the sample.
    """
    raw, index = _raw(held, SHEET, device)
    labels = None if held.labels is None or not views.labels else torch.from_numpy(held.labels).to(device)[index]
    batch = create(maker, views, raw, index, random.keys(seed, 0, index), labels)
    shown, words = dict(method.show(batch)), tokenizer_of(held)
    read = {title: view for title, view in shown.items() if readable(view)}
    made = columns(shown, words)
    if words is not None and read:
        length = next(iter(read.values())).shape
        made |= compared({title: view for title, view in read.items() if view.shape == length}, words)
    if not made:
        return {}
    return pack("shown", cells(list(made.values()))) | {"shown_titles": np.array(list(made), dtype=np.str_)}


def _between(method: Decodes, held: Samples, maker: Maker, device: torch.device) -> dict[str, NDArray[Any]]:
    """`between` (rows, STEPS + 2, H, W, C): a sample, what lies between its code and another's decoded, the other."""
    raw, _ = _raw(held, 2 * ROUTES, device)
    view = maker.clean(raw)
    starts, ends = method.code(view).tensor_split(2)
    route = _great_circle if isinstance(method, Generates) else lerp
    codes = torch.stack([route(a, b, STEPS) for a, b in zip(starts, ends)])  # (rows, STEPS, d)
    middle = method.decode(codes.flatten(0, 1))
    if not (drawable(view) and drawable(middle)):
        return {}
    samples, decoded = alike([view, middle])
    first, last = np.split(samples[:, None], 2)  # (rows, 1, H, W, C) each
    return {"between": np.concatenate((first, decoded.reshape(len(codes), STEPS, *decoded.shape[1:]), last), axis=1)}


def _great_circle(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """What is drawn from a normal prior of many dimensions lies near a sphere, within which nothing was decoded.

    White 2016, "Sampling generative networks", arXiv 1609.04468, section 2.1. Where there is no circle, a line.
    """
    try:
        return slerp(a, b, steps)
    except InputError:  # one dimension, or a code at the origin
        return lerp(a, b, steps)


_READ = (
    f" {HIDDEN} is a word that was hidden. A word marked <mark class=other>so</mark> is another than the sample's, one "
    "marked <mark class=same>so</mark> is the sample's own at a place that was asked about."
)


def predicted_section(content: Content) -> str:
    """What the method shows: a row for each sample. Nothing where it shows nothing."""
    if content.shown is None:
        return ""
    shown = apart(content.shown)
    words = "" if all(map(pictures.drawn, shown)) else _READ
    return (
        '<h2>What it predicts</h2><p class="about">A row is one held-out sample, of which the method shows, column by '
        f"column, what it is given and what it makes of it. The samples are evenly spaced, not picked.{words}</p>"
        f"{pictures.sheet(content.shown_titles, shown, rows=SHEET)}"
    )


def drawn_section(content: Content) -> str:
    """Samples that there are not. Nothing where the method draws nothing."""
    if content.drawn is None:
        return ""
    cells = "".join(image(picture, "drawn") for picture in content.drawn)
    return (
        '<h2>Drawn</h2><p class="about">Decoded from codes that were drawn at random from the prior: none is a sample '
        "of the data. They are the first that came, not picked.</p>"
        f"{grid(cells, ACROSS)}"
    )


def decoded_section(content: Content) -> str:
    """What lies between codes, decoded. Nothing where the method does not decode."""
    if content.between is None:
        return ""
    count = content.between.shape[1]
    titles = ["sample", "its code", *("between",) * (count - 4), "its code", "sample"]
    heads = "".join(f"<span>{title if title != 'between' else ''}</span>" for title in titles)
    return (
        '<h2>Decoded between</h2><p class="about">At both ends a held-out sample, beside it what its code is decoded '
        "to, and between those what lies on the way from one code to the other. Where codes are laid out well, every "
        "step could be a sample; where they are not, one picture fades into the other.</p>"
        f"{grid(heads + _cells(content.between, titles, (0, count - 1)), count)}"
    )


def _cells(rows: Pixels, titles: list[str], real: tuple[int, ...]) -> str:
    return "".join(
        image(picture, titles[column], "first" if column in real else "")
        for row in rows
        for column, picture in enumerate(row)
    )
