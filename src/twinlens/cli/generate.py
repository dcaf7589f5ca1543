"""twinlens generate RUN: samples that a method draws, as a picture, and how far they are from real ones."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from twinlens.errors import InputError
from twinlens.generation import reconstruction, sheet, two_sample
from twinlens.run import Run, load


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens generate", description=__doc__)
    parser.add_argument("run", help="the folder of a run of a method that draws samples")
    parser.add_argument("--count", type=int, default=64, help="samples in the picture")
    parser.add_argument("--out", help="the PNG to write; samples.png in the run's folder")
    parser.add_argument("--data", help="data with a test part: measure reconstructions and drawn samples against it")
    parser.add_argument("--features", help="a run whose encoder compares drawn and real; this run's, untrained")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--json", action="store_true", help="print JSON, with every setting")
    values = parser.parse_args(arguments)
    made = load(values.run)
    picture = sheet(made, count=values.count, seed=values.seed)
    path = Path(values.out or made.folder / "samples.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(path, format="PNG")
    print(f"{path}: {values.count} samples.", file=sys.stderr)
    if values.data is None:
        return
    encoder = _features(made, values.features).encoder if values.features else made.untrained
    found = [reconstruction(made, values.data), two_sample(made, values.data, encoder, seed=values.seed)]
    if values.json:
        print(json.dumps([result.as_dict() for result in found], indent=2))
        return
    for result in found:
        beside = "; ".join(f"{name} {other.value:.4g}" for name, other in result.baselines.items())
        print(f"{result}; {beside}")


def _features(made: Run, path: str) -> Run:
    other = load(path)
    sees, seen = (one.sizes for one in (other, made))
    if sees != seen:
        raise InputError(
            f"the encoder of {path} sees views of {_said(sees)}, {made.method} draws some of {_said(seen)}: choose a "
            f"run on the same data with the same --size."
        )
    return other


def _said(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())
