"""Which label-free score chooses the best run, and the best look of a run? Regret and rank correlation for each.

The truth about a run is a linear probe on its last encoder, of which no score knows; about a look it is the accuracy of
nearest neighbours on held-out samples, which is there for every look. Runs are compared within one data set and one
encoder, healthy ones and broken ones together, as somebody would who tries things out; those are verdicts.py's.

    python benchmarks/selection.py [--runs FOLDER] [--seeds 2]
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import _pool
import _record
import numpy as np
from numpy.typing import NDArray

from twinlens.evaluate.probe import linear_probe
from twinlens.evaluate.result import Labelled
from twinlens.monitor.verdict import LEARNING, verdict
from twinlens.run import Run

Floats = NDArray[np.float64]
Look = Mapping[str, float]
RESAMPLES = 2000
LEAST = 12  # runs of a group, to choose among; the tinted pictures, where none learns, have fewer
CLAIM = "the score that ranks runs by default has the least regret of those compared here, over the pool of runs"

# Each says how good a look is, the higher the better; all are without labels but the last, which is there to compare.
SCORES: dict[str, Callable[[Look], float]] = {
    "RankMe": lambda row: row["rank"],
    "LiDAR": lambda row: row["lidar"],
    "alpha-ReQ": lambda row: -abs(row.get("alpha", math.inf) - 1),
    "spread": lambda row: row["spread"],
    "uniformity": lambda row: -row["uniformity"],
    "alignment": lambda row: -row["alignment"],
    "alignment + uniformity": lambda row: -row["alignment"] - row["uniformity"],
    "changed": lambda row: row["changed"],
    "gap": lambda row: row.get("gap", 0.0),
    "kNN, with labels": lambda row: row["knn"],
}
LAST = "the last look"


def main() -> None:
    """Probes every run, lets every score choose, and writes what its choices cost."""
    asked = _pool.arguments(__doc__)
    groups: dict[str, list[dict[str, Any]]] = {}
    for seed in asked.seeds:
        for case in asked.cases:
            run = _pool.run(case, seed, asked.folder)
            if run is not None and case.samples == _pool.PICTURES and case.method != "supcon":  # it learns from labels
                groups.setdefault(f"{case.data}, {run.architecture}", []).append(facts(case, run))
    groups = {name: runs for name, runs in groups.items() if len(runs) >= min(LEAST, len(asked.cases))}
    rows = [*runs_chosen(groups), *looks_chosen(groups)]
    for row in rows:
        print(json.dumps(row))
    counts = {"group": "all", "runs": {name: len(runs) for name, runs in groups.items()}}
    _record.write("selection", CLAIM, [counts, *rows], list(asked.seeds), out=asked.out)


def facts(case: _pool.Case, run: Run) -> dict[str, Any]:
    """A run's looks after the first step, whether it learns, and its linear probe's accuracy, measured once."""
    path = run.folder / "probe.json"
    if not path.exists():
        split = run.read(_pool.data(case, run.folder.parent))
        assert split.test is not None
        parts = (Labelled(run.embeddings(part), part.labels) for part in (split.train, split.test))
        path.write_text(json.dumps({"probe": linear_probe(*parts).value}))
    looks = [row for row in run.metrics if "spread" in row and row["step"] > 0]
    found = verdict(run.metrics)
    learns = found is not None and found.word == LEARNING
    return {"looks": looks, "learns": learns, "probe": json.loads(path.read_text())["probe"]}


def runs_chosen(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """For each score, of all runs and of those that are said to learn: what its choice of a run costs."""
    found = []
    for name, score in SCORES.items():
        for only_learning in (False, True):
            values = {group: [_value(score(run["looks"][-1]), run, only_learning) for run in runs]
                      for group, runs in groups.items()}  # fmt: skip
            truth = {group: [run["probe"] for run in runs] for group, runs in groups.items()}
            label = f"{name}, of runs that learn" if only_learning else name
            found.append({"chooses": "a run", "score": label, **costs(values, truth)})
    return found


def _value(value: float, run: Mapping[str, Any], only_learning: bool) -> float:
    return value if run["learns"] or not only_learning else -1e9


def looks_chosen(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """For each score, and for taking the last: what its choice of a look costs within a run, over all runs."""
    runs = [run["looks"] for some in groups.values() for run in some if len(run["looks"]) > 1]
    truth = {str(i): [look["knn"] for look in looks] for i, looks in enumerate(runs)}
    found = []
    for name, score in [*list(SCORES.items())[:-1], (LAST, lambda look: look["step"])]:
        values = {str(i): [score(look) for look in looks] for i, looks in enumerate(runs)}
        found.append({"chooses": "a look", "score": name, **costs(values, truth, pooled=True)})
    return found


def costs(
    values: Mapping[str, Sequence[float]], truth: Mapping[str, Sequence[float]], *, pooled: bool = False
) -> dict[str, Any]:
    """Regret (the best minus the chosen), a random choice's, and Spearman's correlation: means over groups.

    95 % intervals by bootstrap (Efron 1979) over the members of each group or, if `pooled`, over groups.
    """
    pairs = [(np.array(values[name], dtype=np.float64), np.array(truth[name])) for name in values]
    each = np.array([[*measure(*pair)] for pair in pairs])
    random, draws = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        if pooled:
            draws.append(each[random.integers(len(each), size=len(each))].mean(0))
        else:
            again = [random.integers(len(t), size=len(t)) for _, t in pairs]
            draws.append(np.mean([measure(v[i], t[i]) for (v, t), i in zip(pairs, again, strict=True)], axis=0))
    names = ("regret", "random regret", "spearman")
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    means = each.mean(0)
    return {name: {"value": round(means[i], 4), "interval": [round(low[i], 4), round(high[i], 4)]}
            for i, name in enumerate(names)}  # fmt: skip


def measure(values: Floats, truth: Floats) -> tuple[float, float, float]:
    """Regret of the highest value (the mean over those that share it), of a random choice, and Spearman's rho."""
    chosen = truth[values == values.max()].mean()
    return truth.max() - chosen, truth.max() - truth.mean(), spearman(values, truth)


def spearman(a: Floats, b: Floats) -> float:
    """Pearson's correlation of ranks, equal values having the mean of theirs; 0 where one is constant."""
    ranks = [np.array([(x < v).sum() + ((x == v).sum() - 1) / 2 for v in x]) for x in (a, b)]
    if min(np.ptp(rank) for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
