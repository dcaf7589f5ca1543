"""A run in a process of its own: its peak memory is its own, and so is whatever ends it.

The parent writes one line of JSON to the child's standard input and keeps it open: when the parent ends, so does the
child, and `resume` never meets a second process at work in the same folder.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import asdict
from math import ceil
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import torch

from twinlens import checkpoint
from twinlens.errors import InputError, NotLearning
from twinlens.fit import pretrain
from twinlens.run import Run

DONE = "trial.json"  # the last file of a run that was trained to its end: its peak memory
FEW, SECONDS = 8, 3.0  # steps of a first look at a method's speed; time that the measurement shall take at least


class Outcome(NamedTuple):
    """What a child said last: what was asked for, or, if it `failed`, why."""

    said: str
    failed: bool


def arguments(run: Run) -> dict[str, Any]:
    """The arguments of `pretrain`, and of `plan`, that name a run: JSON-able."""
    named = {"data": run.data, "method": run.method, "encoder": run.architecture}
    return {**named, **run.settings, **asdict(run.training)}


def train(run: Run, path: Path) -> str:
    """Trains the run in `path`, from where it stands there; returns why it failed, or nothing."""
    if (path / DONE).exists():
        return ""
    outcome = _start("train", arguments(run) | {"out": str(path), "resume": path.exists()})
    return outcome.said if outcome.failed else ""


def seconds_per_step(run: Run, steps: int) -> float:
    """How long a step of the run takes, by a throwaway run; `steps` is how many an epoch has."""
    outcome = _start("measure", arguments(run) | {"steps": steps})
    if outcome.failed:
        raise InputError(f"{run.method} could not be timed ({outcome.said}): leave it out, or change its settings.")
    return float(outcome.said)


def _start(verb: str, asked: dict[str, Any]) -> Outcome:
    command = [sys.executable, "-m", "twinlens.comparison.trial"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin and child.stdout
        child.stdin.write(json.dumps({"verb": verb, "threads": torch.get_num_threads(), "asked": asked}) + "\n")
        child.stdin.flush()
        said = child.stdout.read().strip().rpartition("\n")[2]
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        said = f"its process was ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
    return Outcome(said or f"its process ended with status {child.returncode}", child.returncode != 0)


def _train(**asked: Any) -> str:
    done = pretrain(**asked)
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    checkpoint.write_text(done.folder / DONE, json.dumps({"memory": _peak(), "gpu_memory": gpu}))
    return ""


def _measure(*, steps: int, **asked: Any) -> str:
    number = FEW
    while True:
        with tempfile.TemporaryDirectory() as folder:
            run = pretrain(**asked | {"out": Path(folder) / "run", "epochs": number / steps})
            rows = run.metrics
        middle, last = rows[len(rows) // 2], rows[-1]  # the first steps are slower: memory and kernels are being found
        each = (last["seconds"] - middle["seconds"]) / (last["step"] - middle["step"])
        if last["seconds"] >= SECONDS or number > FEW:
            return str(each)
        number = max(FEW + 1, ceil(SECONDS / each))


def _peak() -> float:
    """The most resident memory this process had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # not ru_maxrss, which a process inherits from the one that starts it
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        assert found
        return int(found[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in bytes on macOS


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """The child: does what the line on its standard input asks, and says what came of it in its last line."""
    job = json.loads(sys.stdin.readline())
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(job["threads"])
    try:
        said, status = {"train": _train, "measure": _measure}[job["verb"]](**job["asked"]), 0
    except KeyboardInterrupt:
        said, status = "interrupted", 130
    except (InputError, NotLearning) as error:
        said, status = str(error), 1
    except Exception as error:
        traceback.print_exc()
        said, status = f"{type(error).__name__}: {error}".splitlines()[0], 1
    sys.stdout.write(f"{said}\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
