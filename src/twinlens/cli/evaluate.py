"""twinlens evaluate RUN LABELLED_DATA: how good a frozen encoder is, beside what it has to beat."""

import argparse
import json
import sys

from rich.console import Console

from twinlens.evaluate.protocol import PROTOCOLS
from twinlens.run import load
from twinlens.transfer import detect


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens evaluate", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument(
        "data", help="labelled data: a folder with a subfolder for each class, an .npz, or a known name"
    )
    parser.add_argument("--protocol", default="standard", help=f"what is measured: {', '.join(PROTOCOLS)}")
    parser.add_argument(
        "--allow_leaks", action="store_true", help="measure also where test samples are among the training ones"
    )
    parser.add_argument("--chosen", action="store_true", help="judge the encoder chosen without labels, not the last")
    parser.add_argument("--outside", help="other data: how well its samples are told from those of DATA (AUROC)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the draws of labels, and of the split where the data has none"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every setting, instead of a table")
    values = parser.parse_args(arguments)
    print("evaluating the encoder and what it has to beat: a minute or a few", file=sys.stderr)
    judged = load(values.run)
    found = judged.evaluate(
        values.data, protocol=values.protocol, seed=values.seed, allow_leaks=values.allow_leaks, chosen=values.chosen
    )
    told = detect(judged, values.data, values.outside, seed=values.seed) if values.outside else None
    if values.json:
        print(json.dumps(found.as_dict() | ({"outside": told.as_dict()} if told else {}), indent=2))
    else:
        Console().print(found.table())
        if told:
            beside = "; ".join(f"{name} {other.value:.1%}" for name, other in told.baselines.items())
            print(f"samples of {values.outside} are told apart: AUROC {str(told).removeprefix('ood ')}; {beside}")
        print(f"{values.run}/report.html shows it beside the curves, the views and the neighbours.", file=sys.stderr)
