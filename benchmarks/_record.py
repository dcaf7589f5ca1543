"""What every benchmark writes down: the claim, when, on which commit and machine, with which seeds, and the rows."""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent


def parser(text: str | None) -> argparse.ArgumentParser:
    """The arguments all benchmarks share, `smallest` and `out`; `text` is the script's docstring."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--smallest", action="store_true", help="to see that it runs, in little time; needs --out")
    made.add_argument("--out", type=Path, help="folder for the result (default: benchmarks/results)")
    return made


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line gave; the smallest form never overwrites the full result."""
    given = made.parse_args()
    if given.smallest and given.out is None:
        made.error("--smallest would overwrite the full result: name another folder with --out")
    return given


def arguments(text: str | None) -> argparse.Namespace:
    """The command line of a benchmark that has no arguments of its own."""
    return parsed(parser(text))


def kept(name: str, out: Path | None) -> list[dict[str, Any]]:
    """The rows that the result has, none where there is no result yet."""
    path = (HERE / "results" if out is None else out) / f"{name}.json"
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def machine() -> dict[str, Any]:
    """The processor, its cores and the versions that figures depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit() -> str:
    """The commit that is checked out, or "unknown" outside a checkout."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def write(name: str, claim: str, rows: Sequence[dict[str, Any]], seeds: Sequence[int], out: Path | None = None) -> Path:
    """`results/<name>.json`, or the same file in the folder `out`."""
    folder = HERE / "results" if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "claim": claim,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "seeds": list(seeds),
        "rows": list(rows),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
