"""CIFAR-10 on a GPU: ResNet-18 with a 3x3 stem, 200 epochs in batches of 512, kNN at the last epoch, time and memory.

The runs are the recipes of twinlens.recipes.cifar10. It works for --minutes and stops, in the middle of a run if need
be; the next call goes on from that run's last checkpoint. Rows that the result has are kept.

    python benchmarks/cifar10.py --minutes 9.5
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _record
import torch

from twinlens.data.load import load as load_data
from twinlens.evaluate.knn import knn
from twinlens.evaluate.result import Labelled
from twinlens.run import load

CLAIM = "on one GPU, 200 epochs of SimCLR on CIFAR-10 take at most 10 minutes and reach at least 86 % by neighbours"
METHODS = ("simclr", "byol", "mocov2", "swav", "barlowtwins", "lejepa", "vicreg")
WATCHED = """
import resource, sys, torch
from twinlens.cli.main import run
status = run(sys.argv[1:])
used = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 1024 * resource.getrusage(0).ru_maxrss
print("PEAK", used)
sys.exit(status)
"""


def main() -> None:
    parser = _record.parser(__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/cifar10"), help="where runs are kept")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="after which to stop (default: a day)")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    options = _record.parsed(parser)
    data, settings, methods = "cifar10", [], options.methods
    if options.smallest:
        data, methods, options.runs = "digits", METHODS[:1], options.out / "cifar10"
        settings = ["--epochs", "0.1", "--batch", "64"]
    stop = time.monotonic() + 60 * options.minutes
    rows = _record.kept("cifar10", options.out)
    for method in methods:
        if any(row["method"] == method for row in rows):
            continue
        peak = trained(method, data, settings, options.runs / method, stop)
        if peak is None:
            print(f"{method} is not finished: call again to go on", flush=True)
            break
        rows.append(row_of(method, data, options.runs / method) | {"gib": round(peak / 2**30, 2)})
        print(json.dumps(rows[-1]), flush=True)
        _record.write("cifar10", CLAIM, rows, [0], out=options.out)


def trained(method: str, data: str, settings: list[str], path: Path, stop: float) -> int | None:
    """Trains a run until it is finished or the time is up: its peak memory in bytes, None where it has to go on."""
    command = ["pretrain", data, "--recipe", "cifar10", "--method", method, "--out", str(path), "--save_every", "20"]
    command += settings + (["--resume"] if (path / "run.json").exists() else [])
    try:
        left = stop - time.monotonic()
        command = [sys.executable, "-c", WATCHED, *command]
        done = subprocess.run(command, timeout=left, stdout=subprocess.PIPE, text=True, check=True)
    except subprocess.TimeoutExpired:
        return None
    return int(done.stdout.split("PEAK")[1])


def row_of(method: str, data: str, path: Path) -> dict[str, Any]:
    """kNN on the test part as lightly measures it (k 200, temperature 0.1), and what the run took."""
    run, last = load(path), load(path).metrics[-1]
    split = load_data(data)
    parts = (split.train, split.test or split.train)
    train, test = (Labelled(run.embeddings(part), torch.from_numpy(part.labels)) for part in parts)
    found = knn(train, test, k=200, temperature=0.1)
    return {
        "method": method, "commit": _record.commit(), "epochs": run.training.epochs, "device": run.facts["environment"],
        "minutes": round(last["seconds"] / 60, 2), "knn": {"value": found.value, "interval": found.interval},
    }  # fmt: skip


if __name__ == "__main__":
    main()
