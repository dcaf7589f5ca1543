"""kill -9 at random moments, --resume each time: the final weights are those of the uninterrupted run, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _record
import torch

from twinlens.checkpoint import read

CLAIM = (
    "a run killed (kill -9) at ten random moments and resumed each time ends with the weights of the uninterrupted run"
)


def command(out: Path, epochs: int) -> list[str]:
    train = ["pretrain", "digits", "--batch", "128", "--epochs", str(epochs), "--hidden", "256", "--save_every", "0.5"]
    return [sys.executable, "-m", "twinlens", *train, "--out", str(out)]


def newest(out: Path) -> int:
    """The number of steps that the last checkpoint holds."""
    return max((int(file.stem) for file in (out / "checkpoints").glob("*.safetensors")), default=0)


def run(out: Path, epochs: int, kill_after: float | None) -> bool:
    """Starts or resumes the run; kills it so many seconds after it got further, if given. Returns whether it ended."""
    reached = newest(out)
    process = subprocess.Popen([*command(out, epochs), "--resume"], stderr=subprocess.PIPE, text=True)
    while kill_after is not None and process.poll() is None and newest(out) == reached:
        time.sleep(0.01)
    try:
        _, said = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return False
    assert process.returncode == 0, said
    return True


def main() -> None:
    options = _record.arguments(__doc__)
    kills, epochs = (2, 12) if options.smallest else (10, 40)
    moments = random.Random(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder) / "whole", Path(folder) / "cut"
        assert run(whole, epochs, None)
        for number in range(kills):
            delay = moments.uniform(0, 2)
            ended = run(cut, epochs, delay)
            facts = {"kill": number + 1, "seconds_after_a_checkpoint": round(delay, 2)}
            rows.append({**facts, "ended_before": ended, "last_checkpoint": newest(cut)})
            print(rows[-1], flush=True)
        run(cut, epochs, None)
        weights = [read(path / "encoder.safetensors")[0] for path in (whole, cut)]
    equal = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    rows.append({"tensors": len(weights[0]), "equal_bit_for_bit": equal})
    print(rows[-1])
    _record.write("resume", CLAIM, rows, [0], out=options.out)
    sys.exit(not equal)


if __name__ == "__main__":
    main()
