"""twinlens audit RUN LABELLED_DATA GROUPS: whom the encoder serves worse, and whether it gives groups away."""

import argparse
import json

from twinlens.run import load
from twinlens.transfer import audit


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens audit", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument("data", help="labelled data")
    parser.add_argument("groups", help="a CSV with the columns name and group, or part, index and group")
    parser.add_argument("--seed", type=int, default=0, help="of folds, permutations, and the split where data has none")
    parser.add_argument(
        "--allow_leaks", action="store_true", help="measure also where test samples are among the training ones"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    values = parser.parse_args(arguments)
    found = audit(load(values.run), values.data, values.groups, seed=values.seed, allow_leaks=values.allow_leaks)
    print(json.dumps(found.as_dict(), indent=2) if values.json else found)
