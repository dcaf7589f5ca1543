"""Pairs of texts -> the same with hard negatives, as a run's encoder sees them, to train on again."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from twinlens.data.load import Data
from twinlens.data.pairs import Pairs
from twinlens.data.text import Texts
from twinlens.errors import InputError
from twinlens.run import Run
from twinlens.search.mining import mine

WINDOW = (10, 100)  # the ten nearest are too often positives that nobody has marked (a guess)


class Mined(NamedTuple):
    """Rows with the keys anchor, positive, negative_1, ..., and how many pairs were left out for want of negatives."""

    rows: list[dict[str, str]]
    left_out: int


def with_negatives(
    run: Run, data: Data, *, count: int = 1, window: tuple[int, int] = WINDOW, margin: float | None = None,
    relative: float | None = None,
) -> Mined:  # fmt: skip
    """The pairs of the training part, each with `count` second sides of others that are near its first, but no answer.

    `window`, `margin` and `relative` as in `mine`, whose corpus are all second sides, each once. Not among an anchor's
    negatives are the second sides of all pairs with the same first side, and the text of that itself. Every pair counts
    as one that belongs together: where a score or a label says otherwise, choose rows first. Negatives that the data
    has already are not looked at.

    Raises:
        InputError: where data is not pairs of texts, a setting is out of range, or no pair has enough negatives.
    """
    pairs = run.read(data).train
    if not isinstance(pairs, Pairs) or not all(isinstance(part, Texts) for part in pairs.parts):
        raise InputError(
            f"{pairs.name} holds {pairs.modality}: expected pairs of texts, such as a table with the columns anchor "
            f"and positive."
        )
    anchors, places = _distinct(pairs.parts[0])
    corpus, rows = _distinct(pairs.parts[1])
    queries, bank = (
        run.embeddings(part.subset(torch.tensor(list(known.values()))))
        for part, known in zip(pairs.parts, (anchors, corpus))
    )
    number = {text: i for i, text in enumerate(corpus)}
    own: list[set[int]] = [{number[text]} if text in number else set() for text in anchors]
    for place, row in zip(places, rows, strict=True):
        own[place].add(row)
    found = mine(
        queries[places], bank[rows], bank, count=count, window=window, margin=margin, relative=relative,
        ids=(_filled(own)[places], torch.arange(len(bank))),
    )  # fmt: skip
    firsts, seconds = list(anchors), list(corpus)
    made = [
        {"anchor": firsts[place], "positive": seconds[row]}
        | {f"negative_{i}": seconds[other] for i, other in enumerate(others, 1)}
        for place, row, others in zip(places, rows, found.tolist(), strict=True)
        if min(others) >= 0
    ]
    if not made:
        raise InputError(
            f"none of {len(places):,} pairs has {count} negatives at ranks {window[0]} to {window[1]} of "
            f"{len(bank):,} texts: choose another --window, or a smaller --margin or --relative."
        )
    return Mined(made, len(places) - len(made))


def _distinct(texts: object) -> tuple[dict[str, int], list[int]]:
    """Each different text with the place of its first sample, and for each sample (N) which of those it is."""
    assert isinstance(texts, Texts)
    first: dict[str, int] = {}
    number: dict[str, int] = {}
    which = []
    for i in range(len(texts)):
        text = texts.text(i)
        first.setdefault(text, i)
        which.append(number.setdefault(text, len(number)))
    return first, which


def _filled(ids: Sequence[set[int]]) -> Tensor:
    """Sets of ids as rows (n, A), filled up with -1, which is none of the corpus."""
    width = max(map(len, ids))
    return torch.tensor([[*sorted(some), *[-1] * (width - len(some))] for some in ids])
