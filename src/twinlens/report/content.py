"""What a report is made of, and how its numbers are read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinlens.report.figures import Pixels
from twinlens.report.geometry import Floats, Labels


@dataclass(frozen=True)
class Content:
    """What a report is made of; nothing is read from anywhere else.

    `settings` is the run's: its `method`, `encoder` and `data`, each a name or a mapping with a `name`, are said in the
    headline. `metrics` are rows with step, progress, views, seconds, loss, rate, views_per_second and waited (the share
    of time without data); those where the monitor looked have spread, rank and, with labels, knn too. A value that is
    not finite is NaN or None. `views` (n, V + 1, H, W, C) holds samples, clean and as V views, under `view_titles`.
    `embeddings` (M, D), `thumbnails` (M, H, W, C) and `labels` (M,) are of held-out samples; C is 1 or 3.
    `untrained` (at most D,) are the eigenvalues of the untrained encoder's embeddings, as `geometry.eigenvalues` gives
    them. `evaluation` has a row for each result: name, value, interval, settings, and baselines by name, each with a
    value and an interval; None where there was no evaluation. `verdict` is the monitor's on the whole run: a word, its
    cause, a remedy. `shown` (n, columns, H, W, C) is what the method shows of n samples under `shown_titles`, `drawn`
    (n, H, W, C) what it decodes from its prior, and `between` (rows, steps, H, W, C) what it decodes on the way from
    the first sample of a row to the last; None where the method has none.
    """

    title: str
    settings: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    views: Pixels
    view_titles: Sequence[str]
    embeddings: Floats
    thumbnails: Pixels
    labels: Labels | None = None
    classes: Sequence[str] = ()
    untrained: Floats | None = None
    evaluation: Sequence[Mapping[str, Any]] | None = None
    notes: Sequence[str] = ()
    verdict: tuple[str, str, str] | None = None
    shown: Pixels | None = None
    shown_titles: Sequence[str] = ()
    drawn: Pixels | None = None
    between: Pixels | None = None


def series(content: Content, key: str) -> tuple[Floats, Floats]:
    """The views processed and the values of `key`, where a row has it; None, which is JSON's NaN, is NaN."""
    rows = [(row["views"], math.nan if row[key] is None else row[key]) for row in content.metrics if key in row]
    views, values = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return views, values
