"""How samples and views of them are shown, whatever they are: pictures as pixels, texts as lines.

The one place of the report that asks which. What comes of it is a column: pixels (n, H, W, C) uint8, or lines (n,) str.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from twinlens.batch import PAD, Maker, Samples
from twinlens.embed import clean_views
from twinlens.views.colour import pixels

Column = NDArray[Any]
"""Pixels (n, H, W, C) uint8, C being 1 or 3, or lines (n,) str."""
Cells = Column | Sequence[Column]
"""Columns of n cells: one array (n, columns, ...) where they are alike, else each by itself."""

KEPT, SHOWN = 300, 200  # characters of a text that are kept, or seen at once
HIDDEN = "▢"
SAME, OTHER, END = "\x01", "\x02", "\x03"
"""Around words at a place that was asked about: the sample's own, or another. A line has no other such characters."""
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")  # control, direction, half a letter
_CPU = torch.device("cpu")


class Words(Protocol):
    """A tokenizer: ids (T,) -> their text, and the special ids around one text, or in place of a hidden word."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    mask: int | None

    def text(self, ids: Sequence[int]) -> str: ...


@runtime_checkable
class Told(Protocol):
    """Samples that are words, or have them."""

    def text(self, i: int) -> str: ...


def judged_by(data: object) -> str:
    """What a run's encoder is evaluated on, as the command line calls it, by what is known of the run's own data."""
    return "PAIRS" if isinstance(data, Mapping) and "+" in data.get("modality", "") else "LABELLED_DATA"


def line(text: str, most: int = KEPT) -> str:
    """A text as one line of at most `most` characters, without any that a page cannot hold."""
    text = _UNSEEN.sub("", " ".join(text[: 8 * most].split()))
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def parts(samples: Samples, maker: Maker) -> dict[str, tuple[Samples, Maker]]:
    """What samples consist of under titles, each with what makes views of it; "sample" where they are of one piece."""
    several: Sequence[Samples] | None = getattr(samples, "parts", None)
    makers: Sequence[Maker] | None = getattr(maker, "parts", None)
    if several is None or makers is None:
        return {"sample": (samples, maker)}
    kinds = ["picture" if part.modality == "image" else part.modality for part in several]
    titles = [f"{kind} {kinds[:i].count(kind) + 1}" if kinds.count(kind) > 1 else kind for i, kind in enumerate(kinds)]
    return dict(zip(titles, zip(several, makers, strict=True), strict=True))


def drawable(view: Tensor) -> bool:
    """Whether views are pictures (N, C, H, W), grey or in colour."""
    return view.ndim == 4 and view.shape[1] in (1, 3)


def readable(view: Tensor | Column) -> bool:
    """Whether views are ids of words, (N, T)."""
    return isinstance(view, Tensor) and view.ndim == 2 and view.dtype == torch.int64


def clean(samples: Samples, maker: Maker, index: Tensor) -> Tensor | Column:
    """The samples at `index` (n,) as they are: their lines, their clean views, or their names if none can be drawn."""
    if isinstance(samples, Told):
        return np.array([line(samples.text(i)) for i in index.tolist()], dtype=np.str_)
    view = maker.clean(samples.fetch(index))
    return view if drawable(view) else _names(samples, index)


def every(samples: Samples, maker: Maker) -> Column:
    """`clean` of all samples, a few at a time, as a column."""
    whole = torch.arange(len(samples))
    first = clean(samples, maker, whole[:1])
    if not isinstance(first, Tensor):
        return np.array([*first, *clean(samples, maker, whole[1:])], dtype=np.str_)
    return np.concatenate([pixels(view) for view in clean_views(samples, maker, device=_CPU)])


def _names(samples: Samples, index: Tensor) -> Column:
    names = samples.names
    return np.array([line(names[i]) if names else f"sample {i}" for i in index.tolist()], dtype=np.str_)


def columns(views: Mapping[str, Tensor | Column], words: Words | None) -> dict[str, Column]:
    """Views under their titles as columns; what is neither picture nor words is left out.

    Pictures become as large as the largest, by nearest pixel, and of as many channels.
    """
    pictures = {title: view for title, view in views.items() if isinstance(view, Tensor) and drawable(view)}
    drawn = dict(zip(pictures, alike(list(pictures.values())), strict=True))
    made: dict[str, Column] = {}
    for title, view in views.items():
        if not isinstance(view, Tensor):
            made[title] = view
        elif title in drawn:
            made[title] = drawn[title]
        elif readable(view) and words is not None:
            made[title] = np.array([_joined(spelled(row, words)) for row in view.tolist()], dtype=np.str_)
    return made


def alike(views: Sequence[Tensor]) -> list[Column]:
    """Pictures of the largest one's size, and of its channels: (N, H, W, C) each."""
    if not views:
        return []
    height, width, channels = (max(view.shape[axis] for view in views) for axis in (2, 3, 1))
    return [pixels(F.interpolate(view, size=(height, width)).expand(-1, channels, -1, -1)) for view in views]


def spelled(
    ids: Sequence[int], words: Words, sample: Sequence[int] | None = None, *, most: int = KEPT
) -> list[tuple[int, str]]:
    """The words of a row of ids, with the place of each in it; special ones around them and what fills up are left out.

    What is hidden is a sign: the mask, or an id below 0 where `sample`, the row it comes from, has a word. A piece of a
    word is what the text grows by with it, so that pieces join as the tokenizer joins them. After `most` characters the
    rest is left out.
    """
    own = ids if sample is None else sample
    around = {*words.prefix, *words.suffix}
    pieces: list[tuple[int, str]] = []
    read: list[int] = []
    grown = ""
    total = 0
    for place, (token, true) in enumerate(zip(ids, own, strict=True)):
        if true == PAD or true in around:
            continue
        if total > most:
            return [*pieces, (place, " …")]
        if token < 0 or token == words.mask:
            piece = f" {HIDDEN}"
        else:
            read.append(token)
            whole = words.text(read)
            if whole.endswith("\ufffd"):  # the first bytes of a letter: it comes with the last
                continue
            said = whole != grown
            piece = whole[len(grown) :] if whole.startswith(grown) else f" {words.text([token])}"
            piece = f" {piece}" if pieces and not grown else piece  # after a sign
            grown = whole
            if not said and true != token:  # a special one in place of a word
                piece = f" {HIDDEN}"
        total += len(piece)
        pieces.append((place, _UNSEEN.sub("", piece)))
    return pieces


def _joined(pieces: Sequence[tuple[int, str]]) -> str:
    return line("".join(piece for _, piece in pieces))


def compared(views: Mapping[str, Tensor], words: Words) -> dict[str, Column]:
    """Rows of ids (N, T) of several titles, the first being the sample: lines in which differences are marked.

    A word that is another than the sample's at its place is marked `OTHER`. Where a column between the first and the
    last has another, or hides it, the place was asked about: the sample's word there is marked `SAME` in every column.
    """
    rows = {title: view.tolist() for title, view in views.items()}
    first, *later = rows.values()
    asked = [
        [any(column[n][t] != own for column in later[:-1]) for t, own in enumerate(row)] for n, row in enumerate(first)
    ]
    return {
        title: np.array([_marked(column[n], first[n], asked[n], words) for n in range(len(first))], dtype=np.str_)
        for title, column in rows.items()
    }


def _marked(ids: Sequence[int], own: Sequence[int], asked: Sequence[bool], words: Words) -> str:
    text, open_ = "", ""
    for place, piece in spelled(ids, words, own, most=SHOWN):
        mark = ""
        if piece.strip() not in (HIDDEN, "…", ""):
            mark = OTHER if ids[place] != own[place] else SAME if asked[place] else ""
        if mark != open_:
            text += (END if open_ else "") + (" " if piece[:1] == " " else "") + mark
            piece, open_ = piece.lstrip(), mark
        text += piece
    return (text + (END if open_ else "")).strip()


def cells(made: Sequence[Column]) -> Cells:
    """Columns as one array (n, columns, ...), where they are alike; else as they are."""
    kinds = {(column.dtype.kind, column.shape) for column in made}
    return np.stack(made, axis=1) if len(kinds) == 1 else list(made)


def apart(of: Cells) -> list[Column]:
    """The columns of cells."""
    return [*of.swapaxes(0, 1)] if isinstance(of, np.ndarray) else list(of)


def pack(name: str, of: Cells) -> dict[str, Column]:
    """Cells as arrays for an .npz, which `unpack` makes cells of again."""
    return {name: of} if isinstance(of, np.ndarray) else {f"{name}.{i}": column for i, column in enumerate(of)}


def unpack(name: str, arrays: Mapping[str, Column]) -> Cells | None:
    """What `pack` has put there, if it has."""
    if name in arrays:
        return arrays[name]
    several = [arrays[key] for i in range(len(arrays)) if (key := f"{name}.{i}") in arrays]
    return several or None
