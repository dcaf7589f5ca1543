"""What benchmarks of quality share: runs of the recipes for Fashion-MNIST, their figures and their baselines'."""

import argparse
import json
from collections.abc import Mapping
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

Row = dict[str, Any]
VALIDATION = 10_000  # of Fashion-MNIST's 60,000 training pictures
SMALLEST: dict[str, Row] = {"mae": {"patch": 2}, "ibot": {"patch": 2, "small_size": 4}}  # digits are 8 x 8


def arguments(text: str | None, methods: list[str]) -> argparse.Namespace:
    """The command line of a benchmark of quality; `text` is the script's docstring."""
    parser = _record.parser(text)
    parser.add_argument("--runs", type=Path, help="where runs are kept (default: runs/benchmarks/NAME)")
    parser.add_argument("--seeds", type=int, help="runs of every method (default: as the table has them)")
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods)
    parser.add_argument(
        "--set", nargs="+", default=[], type=_assignment, metavar="NAME=VALUE", help="changes to the recipes"
    )
    parser.add_argument(
        "--validation", action="store_true", help="learn from 50,000 training pictures and measure on the other 10,000"
    )
    return _record.parsed(parser)


def main(name: str, claim: str, text: str | None, seeds: Mapping[str, int], changes: Mapping[str, Row]) -> None:
    """Makes the runs that the result lacks, seed by seed, and writes the result anew after each.

    `seeds` says how many runs each method gets, `changes` what is set otherwise than in its recipe.
    """
    options = arguments(text, list(seeds))
    name = f"{name}_validation" if options.validation else name
    runs, data = options.runs or Path("runs/benchmarks") / name, "fashion-mnist"
    settings = {method: {**changes.get(method, {}), **dict(options.set)} for method in seeds}
    if options.smallest:
        data, runs = "digits", options.out / "runs"
        settings = {method: {"epochs": 1, "batch": 256} | SMALLEST.get(method, {}) for method in seeds}
    runs.mkdir(parents=True, exist_ok=True)
    if options.validation:
        data = validation(runs)
    rows, order = _record.kept(name, options.out), list(seeds)
    for seed in range(options.seeds or (1 if options.smallest else max(seeds.values()))):
        for method in options.methods:
            wanted = {"method": method, "seed": seed, "settings": settings[method]}
            known = any(all(row[key] == value for key, value in wanted.items()) for row in rows)
            if known or (options.seeds is None and seed >= seeds[method]):
                continue
            rows.append(measure(method, seed, data, runs, settings[method]))
            print(json.dumps(rows[-1]), flush=True)
            rows.sort(key=lambda row: (order.index(row["method"]), row["epochs"], row["seed"]))
            _record.write(name, claim, rows, sorted({row["seed"] for row in rows}), out=options.out)


def measure(method: str, seed: int, data: str, runs: Path, settings: Row) -> Row:
    """One run, trained if it is not finished yet: its figures and its baselines'."""
    path = runs / "-".join([method, *(f"{name}={value}" for name, value in sorted(settings.items())), str(seed)])
    if not (path / "encoder.safetensors").exists():
        recipe = find("fashion_mnist", method)
        pretrain(data, method, recipe=recipe, seed=seed, out=path, resume=(path / "run.json").exists(), **settings)
    run = load(path)
    last = run.metrics[-1]
    row: Row = {"method": method, "seed": seed, "commit": _record.commit(), "settings": settings}
    row |= {"views": last["views"], "seconds": round(last["seconds"], 1)}
    row |= {"epochs": run.training.epochs, "encoder": run.architecture}
    initial = "-".join(str(value) for value in (run.architecture, *run.sections(run.size)["encoder"].values(), seed))
    kept = {"trained": path / "trained", "untrained": runs / f"untrained-{initial}", "raw": runs / "raw"}
    tables = {kind: table(run, kind, data, kept[kind].with_suffix(".json")) for kind in kept}
    for name, result in tables["trained"].items():
        baselines = {kind: tables[kind][name] for kind in ("untrained", "raw")}
        row[name] = {"value": result.value, "interval": result.interval}
        row[name] |= {kind: {"value": one.value, "interval": one.interval} for kind, one in baselines.items()}
        row[name]["above"] = all(result.interval[0] > one.interval[1] for one in baselines.values())
    return row


def table(run: Run, kind: str, data: str, path: Path) -> dict[str, Result]:
    """The standard protocol's results by name, for a run's encoder, for it before training, or for raw pixels."""
    if not path.exists():
        split = run.read(data)
        encoder = {"trained": lambda: run.encoder, "untrained": lambda: run.untrained, "raw": Raw}[kind]()
        parts = (Labelled(run.embeddings(part, encoder), part.labels) for part in (split.train, split.test))
        path.write_text(json.dumps([result.as_dict() for result in standard(*parts)]))
    found = json.loads(path.read_text())
    return {row["name"]: Result(**{**row, "interval": tuple(row["interval"])}) for row in found}


def validation(folder: Path) -> str:
    """Fashion-MNIST's training pictures alone, the last of them in the place of the test pictures: a file."""
    path = folder / "fashion_mnist_validation.npz"
    if not path.exists():
        train = load_data("fashion-mnist").train
        x, y = train.pixels.numpy(), train.labels
        np.savez(path, x_train=x[:-VALIDATION], y_train=y[:-VALIDATION], x_test=x[-VALIDATION:], y_test=y[-VALIDATION:])
    return str(path)


def _assignment(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON."""
    name, _, value = text.partition("=")
    return name, json.loads(value)
