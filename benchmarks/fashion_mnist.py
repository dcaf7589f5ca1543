"""Quality on Fashion-MNIST: four methods, three seeds, last checkpoints, beside raw pixels and the untrained encoder.

The runs are the recipes of twinlens.recipes.fashion_mnist, whose settings were chosen on 10,000 of the 60,000 training
pictures. It resumes where it stopped: finished runs are kept in --runs. --long adds one longer run of the best method.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import _record

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


def folder(runs: Path, method: str, seed: int, settings: dict[str, Any]) -> Path:
    """Where a run lives."""
    return runs / f"{method}-{settings.get('epochs', 'recipe')}-{seed}"


def measure(method: str, seed: int, data: str, runs: Path, **settings: Any) -> dict[str, Any]:
    """One run, trained if it is not finished yet: its figures and its baselines'."""
    path = folder(runs, method, seed, settings)
    if not (path / "encoder.safetensors").exists():
        recipe = find("fashion_mnist", method)
        pretrain(data, method, recipe=recipe, seed=seed, out=path, resume=(path / "run.json").exists(), **settings)
    run = load(path)
    last = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])
    row: dict[str, Any] = {"method": method, "seed": seed, "views": last["views"], "seconds": round(last["seconds"], 1)}
    row |= {"epochs": run.training.epochs, "encoder": run.architecture}
    tables = {kind: table(run, kind, data, runs if kind == "raw" else path) for kind in ("trained", "untrained", "raw")}
    for name, result in tables["trained"].items():
        baselines = {kind: tables[kind][name] for kind in ("untrained", "raw")}
        row[name] = {"value": result.value, "interval": result.interval}
        row[name] |= {kind: {"value": one.value, "interval": one.interval} for kind, one in baselines.items()}
        row[name]["above"] = all(result.interval[0] > one.interval[1] for one in baselines.values())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smallest", action="store_true", help="one epoch on digits, to see that it works")
    parser.add_argument("--out", type=Path, help="where the result goes (default: benchmarks/results)")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/fashion_mnist"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--methods", nargs="+", default=METHODS, choices=METHODS, help="only these, for runs side by side"
    )
    parser.add_argument("--finished", action="store_true", help="tabulate the runs that are finished, start no other")
    parser.add_argument("--long", type=int, default=0, metavar="EPOCHS", help="add a SimCLR run of so many epochs")
    options = parser.parse_args()
    settings, data, seeds = {}, "fashion-mnist", range(options.seeds)
    if options.smallest:
        settings, data, seeds, options.runs = {"epochs": 1, "batch": 256}, "digits", range(1), options.out / "runs"
    options.runs.mkdir(parents=True, exist_ok=True)
    rows = []
    own = {"mae": {"patch": 2}} if options.smallest else {}  # digits are 8 x 8
    plan = [(method, seed, settings | own.get(method, {})) for seed in seeds for method in options.methods]
    plan += [("simclr", 0, {"epochs": options.long})] if options.long else []
    for method, seed, changed in plan:
        if options.finished and not (folder(options.runs, method, seed, changed) / "trained.json").exists():
            continue
        rows.append(measure(method, seed, data, options.runs, **changed))
        print(json.dumps(rows[-1]), flush=True)
        _record.write("fashion_mnist", CLAIM, rows, sorted({row["seed"] for row in rows}), out=options.out)


if __name__ == "__main__":
    main()
