"""twinlens evaluate RUN LABELLED_DATA: how good a frozen encoder is, beside what it has to beat."""

import argparse
import json
import sys
from collections.abc import Mapping

from rich.console import Console

from twinlens import alignment
from twinlens.cli import _columns
from twinlens.data.load import Data, modality
from twinlens.data.pairs import Pairs
from twinlens.errors import InputError
from twinlens.evaluate.evaluation import Evaluation
from twinlens.evaluate.protocol import PROTOCOLS
from twinlens.evaluate.result import Result
from twinlens.run import Run, load
from twinlens.transfer import detect


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    made = argparse.ArgumentParser(prog="twinlens evaluate", description=__doc__)
    made.add_argument("run", help="a run's folder")
    made.add_argument(
        "data",
        help="labelled data: a folder with a subfolder for each class, an .npz, a table, or a known name; or pairs: a "
        "table of texts, pictures with captions",
    )
    made.add_argument("--protocol", help=f"what is measured: {', '.join(PROTOCOLS)} (default: standard)")
    made.add_argument(
        "--allow_leaks", action="store_true", help="measure also where test samples are among the training ones"
    )
    made.add_argument("--chosen", action="store_true", help="judge the encoder chosen without labels, not the last")
    made.add_argument("--outside", help="other data: how well its samples are told from those of DATA (AUROC)")
    made.add_argument(
        "--template",
        action="append",
        help="of pictures with captions and classes: a text that names a class, such as 'a photo of a {}.'; may be "
        "repeated (default: the name alone)",
    )
    made.add_argument(
        "--seed", type=int, default=0, help="of the draws of labels, and of the split where the data has none"
    )
    made.add_argument("--json", action="store_true", help="print JSON, with every setting, instead of a table")
    _columns.add(made)
    return made


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    values = parser().parse_args(arguments)
    print("evaluating the encoder and what it has to beat: a minute or a few", file=sys.stderr)
    judged = load(values.run)
    data: Data = _columns.source(values)
    if "text" in modality(data):
        split = judged.read(data)  # once: texts take a while to become ids
        if isinstance(split.train, Pairs):
            _print(_aligned(judged, split, values), values, {})
            return
        data = split
    if values.template:
        raise InputError(f"--template asks for pictures with captions, which {values.data} is not: leave it out.")
    found = judged.evaluate(
        data, protocol=values.protocol or "standard", seed=values.seed, allow_leaks=values.allow_leaks,
        chosen=values.chosen,
    )  # fmt: skip
    told = detect(judged, data, values.outside, seed=values.seed) if values.outside else None
    _print(found, values, {"outside": told} if told else {})


def _aligned(judged: Run, data: Data, values: argparse.Namespace) -> Evaluation:
    for name in ("protocol", "chosen", "outside"):
        if getattr(values, name):
            raise InputError(f"--{name} is for labelled samples, and {values.data} holds pairs: leave it out.")
    return alignment.evaluate(
        judged, data, seed=values.seed, **({"templates": values.template} if values.template else {})
    )


def _print(found: Evaluation, values: argparse.Namespace, more: Mapping[str, Result]) -> None:
    if values.json:
        print(json.dumps(found.as_dict() | {name: result.as_dict() for name, result in more.items()}, indent=2))
        return
    Console().print(found.table())
    for told in more.values():
        beside = "; ".join(f"{name} {other.value:.1%}" for name, other in told.baselines.items())
        print(f"samples of {values.outside} are told apart: AUROC {str(told).removeprefix('ood ')}; {beside}")
    for note in found.protocol.get("notes", ()):
        print(note, file=sys.stderr)
    print(f"{values.run}/report.html shows it beside the curves, the views and the neighbours.", file=sys.stderr)
