"""twinlens dense RUN LABELLED_DATA: what the frozen encoder says of places, by segmentation and detection."""

import argparse
import json
import sys

from twinlens.run import load
from twinlens.transfer import dense


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens dense", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument("data", help="labelled data with a test part, of whose pictures scenes are composed")
    parser.add_argument("--train", type=int, default=1000, help="scenes to learn from")
    parser.add_argument("--test", type=int, default=300, help="scenes to be judged by")
    parser.add_argument("--seed", type=int, default=0, help="of scenes and heads")
    parser.add_argument("--json", action="store_true", help="print JSON, with every setting")
    values = parser.parse_args(arguments)
    print("training light heads on the encoder, on it before training, and on raw patches", file=sys.stderr)
    found = dense(load(values.run), values.data, train=values.train, test=values.test, seed=values.seed)
    if values.json:
        print(json.dumps([result.as_dict() for result in found], indent=2))
        return
    for result in found:
        beside = "; ".join(f"{name} {other.value:.1%}" for name, other in result.baselines.items())
        print(f"{result}; {beside}")
