"""twinlens finetune RUN LABELLED_DATA: the encoder trained on labels, beside the same from its initial weights."""

import json
import sys
from dataclasses import fields

from jsonargparse import ArgumentParser

from twinlens.cli import _columns
from twinlens.evaluate.finetune import FineTuning
from twinlens.run import load


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = ArgumentParser(prog="twinlens finetune", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument(
        "data", help="labelled data: a folder with a subfolder for each class, an .npz, or a known name"
    )
    parser.add_argument("--shots", type=int, help="labels of each class to learn from (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the order, the views and the labels that are drawn")
    parser.add_argument(
        "--allow_leaks", action="store_true", help="measure also where test samples are among the training ones"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every setting")
    parser.add_class_arguments(FineTuning)
    _columns.add(parser)
    values = parser.parse_args(arguments)
    how = FineTuning(**{field.name: values[field.name] for field in fields(FineTuning)})
    print("training on labels, from the pretrained weights and from the initial ones", file=sys.stderr)
    found = load(values.run).finetune(
        _columns.source(values), shots=values.shots, how=how, seed=values.seed, allow_leaks=values.allow_leaks
    )
    if values.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        print(found)
        for name, baseline in found.baselines.items():
            print(f"{name}: {baseline.value:.1%} ({baseline.interval[0]:.1%} to {baseline.interval[1]:.1%})")
