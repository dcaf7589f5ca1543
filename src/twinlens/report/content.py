"""What a report is made of, and how its numbers are read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinlens.report.figures import Pixels
from twinlens.report.geometry import Floats, Labels, Places
from twinlens.report.shows import Cells, Column


@dataclass(frozen=True)
class Content:
    """What a report is made of; nothing is read from anywhere else.

    `settings` is the run's: its `method`, `encoder` and `data`, each a name or a mapping with a `name`, are said in the
    headline. `metrics` are rows with step, progress, views, seconds, loss, rate, views_per_second and waited (the share
    of time without data); those where the monitor looked have spread, rank and, with labels, knn too. A value that is
    not finite is NaN or None. `views` are columns of n samples, clean and as V views, under `view_titles`: pictures
    (n, V + 1, H, W, C) or lines of text (n, V + 1), or each column by itself where some are pictures and some lines.
    `embeddings` (M, D), `thumbnails`, pictures (M, H, W, C) or lines (M,), and `labels` (M,) are of held-out samples; C
    is 1 or 3. Where samples have parts, thumbnails are those of the first and `others` those of the others, all under
    `part_titles`; `found` (2, q, k + 1) holds places of samples, a query and the k whose other part is nearest to it,
    from the first part to the second and back, and `places` (2, q, 3) which place its own other part came in at, which
    of the samples stands for that, and of how many that differ.
    `untrained` (at most D,) are the eigenvalues of the untrained encoder's embeddings, as `geometry.eigenvalues` gives
    them. `evaluation` has a row for each result: name, value, interval, settings, and baselines by name, each with a
    value and an interval; None where there was no evaluation. `verdict` is the monitor's on the whole run: a word, its
    cause, a remedy. `shown` are columns, as `views` are, that the method shows of n samples under `shown_titles`,
    `drawn` (n, H, W, C) what it decodes from its prior, and `between` (rows, steps, H, W, C) what it decodes on the way
    from the first sample of a row to the last; None where the method has none.
    """

    title: str
    settings: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    views: Cells
    view_titles: Sequence[str]
    embeddings: Floats
    thumbnails: Column
    labels: Labels | None = None
    classes: Sequence[str] = ()
    untrained: Floats | None = None
    evaluation: Sequence[Mapping[str, Any]] | None = None
    notes: Sequence[str] = ()
    verdict: tuple[str, str, str] | None = None
    shown: Cells | None = None
    shown_titles: Sequence[str] = ()
    drawn: Pixels | None = None
    between: Pixels | None = None
    others: Sequence[Column] = ()
    part_titles: Sequence[str] = ("sample",)
    found: Places | None = None
    places: Places | None = None

    @property
    def parts(self) -> tuple[Column, ...]:
        """What is shown of held-out samples, a column for each of their parts."""
        return self.thumbnails, *self.others


def series(content: Content, key: str) -> tuple[Floats, Floats]:
    """The views processed and the values of `key`, where a row has it; None, which is JSON's NaN, is NaN."""
    rows = [(row["views"], math.nan if row[key] is None else row[key]) for row in content.metrics if key in row]
    views, values = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return views, values
