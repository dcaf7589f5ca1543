"""Records -> rows: means over seeds, places with labels and without, and how far the two agree."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from twinlens.comparison.record import Record
from twinlens.evaluate.baselines import RAW, UNTRAINED
from twinlens.evaluate.result import Result
from twinlens.monitor.verdict import LEARNING
from twinlens.report.comparison import Row, Share, Shares

FIGURE = "knn"  # of the standard protocol: by it methods are ranked where there are labels
SCORE = "uniformity"  # of what a run watches: without labels the lowest is first (benchmarks/selection.py)
LAST = 1e9  # taken off the score of those that do not learn


def rows(records: Sequence[Record], methods: Iterable[str]) -> list[Row]:
    """A row for each method, the best first: by labels where there are any, else without."""
    names = encoders(records)
    made = [_row(name, [record for record in records if record.method == name], names) for name in methods]
    by_labels = places({row.name: row.accuracy[FIGURE].value for row in made if row.accuracy})
    without = places({row.name: _score(row) for row in made if SCORE in row.watched})
    placed = [replace(row, by_labels=by_labels.get(row.name), without_labels=without.get(row.name)) for row in made]
    return sorted(placed, key=lambda row: (row.by_labels or inf, row.without_labels or inf))


def _row(name: str, records: Sequence[Record], encoders: Mapping[str, str]) -> Row:
    done = [record for record in records if record.trained]
    if not done:
        return Row(name)
    judged = [record.results for record in done if record.results]
    return Row(
        name,
        runs=len(done),
        encoder=encoders[done[0].start],
        accuracy=shares(judged),
        apart=len(judged) == len(records) and all(map(_apart, judged)),
        verdict=_word(done),
        watched={key: statistics.mean(record.watched[key] for record in done) for key in done[0].watched},
        epochs=done[0].epochs,
        views=statistics.mean(record.views for record in done),
        seconds=statistics.mean(record.seconds for record in done),
        memory=max(record.memory if record.gpu_memory is None else record.gpu_memory for record in done),
    )


def _score(row: Row) -> float:
    """What ranks without labels, the highest first: minus SCORE, and those that do not learn below all others."""
    return -row.watched[SCORE] - (0 if row.verdict in ("", LEARNING) else LAST)


def _word(records: Sequence[Record]) -> str:
    """The verdict on a method: what is wrong with the first of its runs that does not learn, if any."""
    words = [record.verdict for record in records]
    return next((word for word in words if word not in ("", LEARNING)), words[0])


def _apart(results: Sequence[Result]) -> bool:
    (figure,) = (result for result in results if result.name == FIGURE)
    return all(figure.interval[0] > baseline.interval[1] for baseline in figure.baselines.values())


def shares(runs: Sequence[Sequence[Result]]) -> dict[str, Share]:
    """Each figure's mean over runs with the lowest and the highest end of its intervals."""
    return {
        same[0].name: Share(
            statistics.mean(result.value for result in same),
            min(result.interval[0] for result in same),
            max(result.interval[1] for result in same),
        )
        for same in zip(*runs)
    }


def encoders(records: Iterable[Record]) -> dict[str, str]:
    """What to call each start that encoders had: its encoder, and where that had several, the methods too."""
    methods: dict[str, dict[str, list[str]]] = {}
    for record in records:
        if record.trained:
            methods.setdefault(record.encoder, {}).setdefault(record.start, []).append(record.method)
    return {
        start: name if len(starts) == 1 else f"{name} ({', '.join(dict.fromkeys(of))})"
        for name, starts in methods.items()
        for start, of in starts.items()
    }


def raw(records: Iterable[Record]) -> Shares:
    """The figures of the raw input, which all runs share."""
    return shares([_baseline(record, RAW) for record in records if record.results][:1])


def untrained(records: Sequence[Record]) -> dict[str, Shares]:
    """The figures of the encoders before training, under their names."""
    found = {
        name: [_baseline(record, UNTRAINED) for record in records if record.results and record.start == start]
        for start, name in encoders(records).items()
    }
    return {name: shares(judged) for name, judged in found.items() if judged}


def _baseline(record: Record, name: str) -> list[Result]:
    return [result.baselines[name] for result in record.results]


def places(values: Mapping[str, float]) -> dict[str, int]:
    """Each name's place from 1, the highest value first; equal values share a place."""
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def agreement(rows: Iterable[Row]) -> float | None:
    """Spearman's correlation of the ranks with labels and without, of at least three methods; None where it has none.

    Equal values have the mean of the ranks they share, so it is Pearson's correlation of ranks (Spearman 1904).
    """
    pairs = [(row.accuracy[FIGURE].value, _score(row)) for row in rows if row.accuracy and SCORE in row.watched]
    a = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    ranks = (a[:, None] > a).sum(1) + ((a[:, None] == a).sum(1) - 1) / 2  # (methods, 2), from 0
    if len(pairs) < 3 or (np.ptp(ranks, axis=0) == 0).any():
        return None
    return float(np.corrcoef(ranks.T)[0, 1])
