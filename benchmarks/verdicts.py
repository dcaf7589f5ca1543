"""Is the monitor's verdict right? Runs whose outcome is known by its cause, healthy ones and ones broken on purpose.

The verdict's thresholds were fixed on the runs with seed 0; its share of right words is claimed of those with seed 1.
Two cases on the digits, which turned out not to collapse, were left out after both seeds had been seen (_pool.py).
selection.py uses the same runs, about half a minute each on a core. It resumes where it stopped.

    python benchmarks/verdicts.py [--runs FOLDER] [--seeds 2]
"""

from pathlib import Path
from typing import Any

import _pool
import _record

from twinlens.monitor.verdict import LEARNING, verdict

CLAIM = (
    "the verdict is right on at least 95 % of the runs with seed 1, on which no threshold was fixed, and warns of a "
    "complete collapse within the first fifth of a run"
)
FIXED_ON, REPORTED_ON = "thresholds fixed on", "reported on"


def main() -> None:
    """Judges every run there is or is to be, and writes the result anew after each."""
    asked = _pool.arguments(__doc__)
    rows: list[dict[str, Any]] = []
    for seed in asked.seeds:
        for case in asked.cases:
            rows.append(judge(case, seed, asked.folder))
            print(rows[-1], flush=True)
            _record.write("verdicts", CLAIM, [*summary(rows), *rows], list(asked.seeds), out=asked.out)


def judge(case: _pool.Case, seed: int, folder: Path) -> dict[str, Any]:
    """The verdict on a run, beside the right one, and where in the run it first said anything but `learning`."""
    run = _pool.run(case, seed, folder)
    row: dict[str, Any] = {"method": case.method, "data": case.data, "cause": case.cause, "seed": seed}
    row |= {"right": list(case.words), "of": FIXED_ON if seed == 0 else REPORTED_ON}
    if run is None:  # the loss stopped being a number, and the run said so and ended
        return row | {"verdict": _pool.DIVERGED, "warned": None}
    metrics, found = run.metrics, run.verdict
    assert found is not None
    course = [(metrics[i]["progress"], verdict(metrics[: i + 1])) for i, look in enumerate(metrics) if "spread" in look]
    warned = [progress for progress, said in course if said is not None and said.word != LEARNING]
    return row | {"verdict": found.word, "warned": round(warned[0], 3) if warned else None}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many words are right, for both halves, and by when complete collapse is warned of; the confused pairs."""
    found = []
    for half in (FIXED_ON, REPORTED_ON):
        some = [row for row in rows if row["of"] == half]
        right = sum(row["verdict"] in row["right"] for row in some)
        warned = [row["warned"] for row in some if row["right"] == [_pool.COMPLETE] and row["warned"] is not None]
        unseen = sum(row["right"] == [_pool.COMPLETE] and row["warned"] is None for row in some)
        wrong = [f"{row['method']} on {row['data']}, {row['cause']}: {row['verdict']}" for row in some
                 if row["verdict"] not in row["right"]]  # fmt: skip
        if some:
            found.append({"summary": half, "runs": len(some), "right": right, "share": round(right / len(some), 3),
                          "latest first warning of complete collapse": max(warned, default=None),
                          "complete collapses never warned of": unseen, "wrong": wrong})  # fmt: skip
    return found


if __name__ == "__main__":
    main()
