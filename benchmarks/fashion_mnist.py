"""Quality on Fashion-MNIST: four methods, three seeds, last checkpoints, beside raw pixels and the untrained encoder.

The runs are the recipes of twinlens.recipes.fashion_mnist. It resumes where it stopped: a finished run keeps its row in
--runs, and the result holds the rows of all that are finished there.

    python benchmarks/fashion_mnist.py                                              the table, about an hour
    python benchmarks/fashion_mnist.py --methods vicreg --seeds 1 --set epochs=56   one longer run, half an hour
    python benchmarks/fashion_mnist.py --validation --set rate=2e-3                 to choose settings: no test pictures
"""

import argparse
import json
from pathlib import Path
from typing import Any

import _record
import numpy as np

from twinlens.data.load import load as load_data
from twinlens.evaluate.baselines import Raw
from twinlens.evaluate.protocol import standard
from twinlens.evaluate.result import Labelled, Result
from twinlens.fit import pretrain
from twinlens.recipes import find
from twinlens.run import Run, load

CLAIM = (
    "SimCLR, BYOL, VICReg and MAE stand above the untrained encoder and raw pixels on Fashion-MNIST, intervals apart"
)
METHODS = ("simclr", "byol", "vicreg", "mae")
VALIDATION = 10_000  # of the 60,000 training pictures


def table(run: Run, kind: str, data: str, kept: Path) -> dict[str, Result]:
    """The standard protocol's results by name, for a run's encoder, for it before training, or for raw pixels."""
    path = kept / f"{kind}.json"
    if not path.exists():
        split = run.read(data)
        encoder = {"trained": lambda: run.encoder, "untrained": lambda: run.untrained, "raw": Raw}[kind]()
        parts = (Labelled(run.embeddings(part, encoder), part.labels) for part in (split.train, split.test))
        path.write_text(json.dumps([result.as_dict() for result in standard(*parts)]))
    found = json.loads(path.read_text())
    return {row["name"]: Result(**{**row, "interval": tuple(row["interval"])}) for row in found}


def measure(method: str, seed: int, data: str, runs: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """One run, trained if it is not finished yet: its figures and its baselines'."""
    path = runs / "-".join([method, *(f"{name}={value}" for name, value in sorted(settings.items())), str(seed)])
    if (path / "row.json").exists():
        return dict(json.loads((path / "row.json").read_text()))
    if not (path / "encoder.safetensors").exists():
        recipe = find("fashion_mnist", method)
        pretrain(data, method, recipe=recipe, seed=seed, out=path, resume=(path / "run.json").exists(), **settings)
    run = load(path)
    last = run.metrics[-1]
    row: dict[str, Any] = {"method": method, "seed": seed, "commit": _record.commit(), "settings": settings}
    row |= {"views": last["views"], "seconds": round(last["seconds"], 1)}
    row |= {"epochs": run.training.epochs, "encoder": run.architecture}
    tables = {kind: table(run, kind, data, runs if kind == "raw" else path) for kind in ("trained", "untrained", "raw")}
    for name, result in tables["trained"].items():
        baselines = {kind: tables[kind][name] for kind in ("untrained", "raw")}
        row[name] = {"value": result.value, "interval": result.interval}
        row[name] |= {kind: {"value": one.value, "interval": one.interval} for kind, one in baselines.items()}
        row[name]["above"] = all(result.interval[0] > one.interval[1] for one in baselines.values())
    (path / "row.json").write_text(json.dumps(row, indent=1))
    return row


def validation(folder: Path) -> str:
    """Fashion-MNIST's training pictures alone, the last of them in the place of the test pictures: a file."""
    path = folder / "fashion_mnist_validation.npz"
    if not path.exists():
        train = load_data("fashion-mnist").train
        x, y = train.pixels.numpy(), train.labels
        np.savez(path, x_train=x[:-VALIDATION], y_train=y[:-VALIDATION], x_test=x[-VALIDATION:], y_test=y[-VALIDATION:])
    return str(path)


def assignment(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON."""
    name, _, value = text.partition("=")
    return name, json.loads(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", action="store_true", help="one epoch on digits, to see that it works")
    parser.add_argument("--out", type=Path, help="where the result goes (default: benchmarks/results)")
    parser.add_argument("--runs", type=Path, help="where runs are kept (default: runs/benchmarks/NAME)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument(
        "--set", nargs="+", default=[], type=assignment, metavar="NAME=VALUE", help="changes to the recipes"
    )
    parser.add_argument(
        "--validation", action="store_true", help="learn from 50,000 training pictures and measure on the other 10,000"
    )
    options = parser.parse_args()
    name = "fashion_mnist_validation" if options.validation else "fashion_mnist"
    runs = options.runs or Path("runs/benchmarks") / name
    settings, data, seeds = dict(options.set), "fashion-mnist", range(options.seeds)
    if options.smallest:
        settings, data, seeds, runs = {"epochs": 1, "batch": 256}, "digits", range(1), options.out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    if options.validation:
        data = validation(runs)
    own = {"mae": {"patch": 2}} if options.smallest else {}  # digits are 8 x 8
    for seed in seeds:
        for method in options.methods:
            print(json.dumps(measure(method, seed, data, runs, settings | own.get(method, {}))), flush=True)
            rows = [json.loads(path.read_text()) for path in runs.glob("*/row.json")]
            rows.sort(key=lambda row: (row["epochs"], METHODS.index(row["method"]), row["seed"], str(row["settings"])))
            _record.write(name, CLAIM, rows, sorted({row["seed"] for row in rows}), out=options.out)


if __name__ == "__main__":
    main()
