"""What benchmarks of quality share: runs of the recipes for Fashion-MNIST, their figures and their baselines'."""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch

from twinlens.data.load import load as load_data
from twinlens.distributed import device
from twinlens.evaluate.baselines import Raw
from twinlens.evaluate.finetune import FineTuning, finetune, supervised
from twinlens.evaluate.protocol import standard
from twinlens.evaluate.result import Labelled, Result
from twinlens.fit import pretrain
from twinlens.recipes import find
from twinlens.run import Run, load

Row = dict[str, Any]
FASHION = "fashion-mnist"
VALIDATION = 10_000  # of Fashion-MNIST's 60,000 training pictures


@dataclass(frozen=True)
class Table:
    """A benchmark of quality: how many runs of each recipe, what is set otherwise than there, and what is measured.

    A recipe learns from Fashion-MNIST; one that is named RECIPE@DATA from that data. `smallest` are the recipes of the
    smallest form, and what they need for digits, which are 8 x 8, or for `factors` in the place of other data. `shots`
    labels a class (1, 10 or 100, as raw pixels are probed) are fine-tuned with, none if 0; `more` measures what only
    some methods have.
    """

    name: str
    claim: str
    seeds: Mapping[str, int]
    changes: Mapping[str, Row] = field(default_factory=dict)
    smallest: Mapping[str, Row] = field(default_factory=dict)
    shots: int = 0
    more: Callable[[Run, str], Row] = lambda run, data: {}


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


def main(table: Table, text: str | None) -> None:
    """Makes the runs that the result lacks, seed by seed, and writes the result anew after each."""
    seeds = table.seeds
    options = arguments(text, list(seeds))
    name = f"{table.name}_validation" if options.validation else table.name
    runs = options.runs or Path("runs/benchmarks") / name
    settings = {method: {**table.changes.get(method, {}), **dict(options.set)} for method in seeds}
    if options.smallest:
        runs, table = options.out / "runs", replace(table, shots=min(table.shots, 10))
        settings = {method: {"epochs": 1, "batch": 256} | changes for method, changes in table.smallest.items()}
        options.methods = [method for method in options.methods if method in settings]
    runs.mkdir(parents=True, exist_ok=True)
    rows, order = _record.kept(name, options.out), list(seeds)

    def place(row: Row) -> int:
        known = f"{row['method']}@{row.get('data')}"
        return order.index(known) if known in order else [name.partition("@")[0] for name in order].index(row["method"])

    for seed in range(options.seeds or (1 if options.smallest else max(seeds.values()))):
        for method in options.methods:
            recipe, _, data = method.partition("@")
            if options.smallest:
                data = "factors" if data else "digits"
            data = validation(runs, data or FASHION) if options.validation else data or FASHION
            wanted = {"method": recipe, "data": Path(data).stem, "seed": seed, "settings": settings[method]}
            known = any(all(row.get(key, FASHION) == value for key, value in wanted.items()) for row in rows)
            if known or (options.seeds is None and seed >= seeds[method]):
                continue
            rows.append(measure(table, method, seed, data, runs, settings[method]))
            print(json.dumps(rows[-1]), flush=True)
            rows.sort(key=lambda row: (place(row), row["epochs"], row["seed"]))
            _record.write(name, table.claim, rows, sorted({row["seed"] for row in rows}), out=options.out)


def measure(table: Table, method: str, seed: int, data: str, runs: Path, settings: Row) -> Row:
    """One run, trained if it is not finished yet: its figures and its baselines'."""
    path = runs / "-".join([method, *(f"{name}={value}" for name, value in sorted(settings.items())), str(seed)])
    name = method.partition("@")[0]
    recipe = find("fashion_mnist", name)
    if not (path / "encoder.safetensors").exists():
        resume = (path / "run.json").exists()
        pretrain(data, recipe.method, recipe=recipe, seed=seed, out=path, resume=resume, **settings)
    run = load(path)
    last = run.metrics[-1]
    row: Row = {
        "method": name,
        "seed": seed,
        "commit": _record.commit(),
        "settings": settings,
        "data": Path(data).stem,
    }
    row |= {"views": last["views"], "seconds": round(last["seconds"], 1)}
    row |= {"epochs": run.training.epochs, "encoder": run.architecture, "verdict": last.get("verdict")}
    of = Path(data).stem
    initial = "-".join(str(value) for value in (run.architecture, *run.sections()["encoder"].values(), seed, of))
    kept = {"trained": path / "trained", "untrained": runs / f"untrained-{initial}", "raw": runs / f"raw-{of}"}
    tables = {kind: standard_table(run, kind, data, kept[kind].with_suffix(".json")) for kind in kept}
    for name, result in tables["trained"].items():
        row[name] = beside(result, {kind: tables[kind][name] for kind in ("untrained", "raw")})
    if table.shots:
        found = finetuned(run, data, table.shots, kept)
        baselines = {"untrained": found["untrained"], "raw": tables["raw"][f"{table.shots} per class"]}
        row["fine-tuned"] = beside(found["trained"], baselines)
    return row | table.more(run, data)


def beside(result: Result, baselines: Mapping[str, Any]) -> Row:
    """A figure with its baselines', and whether its interval stands above all of theirs."""
    row = {"value": result.value, "interval": result.interval}
    row |= {kind: {"value": one.value, "interval": one.interval} for kind, one in baselines.items()}
    return row | {"above": all(result.interval[0] > one.interval[1] for one in baselines.values())}


def finetuned(run: Run, data: str, shots: int, kept: Mapping[str, Path]) -> dict[str, Result]:
    """Accuracy after fine-tuning on `shots` labels a class, from the trained and from the initial weights."""
    found = {}
    views = "-".join(str(value) for value in run.sections()["views"].values())  # which differ between recipes
    for kind, judge in (("trained", finetune), ("untrained", supervised)):
        path = kept[kind].with_name(f"{kept[kind].name}-finetuned-{views}.json")
        if not path.exists():
            split, encoder = run.read(data), run.encoder if kind == "trained" else run.untrained
            assert split.test is not None and split.train.labels is not None
            how = FineTuning(batch=min(64, shots * len(np.unique(split.train.labels))))
            result = judge(encoder, split.train, split.test, run.maker(), device=device(), how=how, shots=shots)
            path.write_text(json.dumps(result.as_dict()))
        found[kind] = restored(json.loads(path.read_text()))
    return found


def standard_table(run: Run, kind: str, data: str, path: Path) -> dict[str, Result]:
    """The standard protocol's results by name, for a run's encoder, for it before training, or for raw pixels."""
    if not path.exists():
        split = run.read(data)
        encoder = {"trained": lambda: run.encoder, "untrained": lambda: run.untrained, "raw": Raw}[kind]()
        parts = (Labelled(run.embeddings(part, encoder), part.labels) for part in (split.train, split.test))
        path.write_text(json.dumps([result.as_dict() for result in standard(*parts)]))
    found = json.loads(path.read_text())
    return {row["name"]: restored(row) for row in found}


def restored(row: Row) -> Result:
    """A result as `Result.as_dict` stored it."""
    baselines = {name: restored(one) for name, one in row.get("baselines", {}).items()}
    return Result(**{**row, "interval": tuple(row["interval"]), "baselines": baselines})


def validation(folder: Path, data: str) -> str:
    """The training pictures of `data` alone, the last of them in the place of the test pictures: a file."""
    path = folder / f"{data.replace('-', '_')}_validation.npz"
    if not path.exists():
        train = load_data(data).train
        x, y = train.fetch(torch.arange(len(train)))[0].numpy(), train.labels  # which reads what is in a file
        assert y is not None
        order = np.random.default_rng(0).permutation(len(x)) if data == "cifar10" else np.arange(len(x))  # it is sorted
        x, y = x[order], y[order]
        np.savez(path, x_train=x[:-VALIDATION], y_train=y[:-VALIDATION], x_test=x[-VALIDATION:], y_test=y[-VALIDATION:])
    return str(path)


def _assignment(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON."""
    name, _, value = text.partition("=")
    return name, json.loads(value)
