"""twinlens compare METHOD... DATA: several methods at equal compute, ranked with labels and without."""

import argparse
import json
import sys

from rich.console import Console

from twinlens import recipes
from twinlens.comparison.compare import PLOT, compare
from twinlens.comparison.plan import LEAST, PASSES
from twinlens.comparison.result import FILE
from twinlens.errors import InputError
from twinlens.train import Training


def parser() -> argparse.ArgumentParser:
    """The parser of the verb."""
    made = argparse.ArgumentParser(prog="twinlens compare", description=__doc__, exit_on_error=False)
    made.add_argument("methods", nargs="+", metavar="METHOD", help="methods to compare (twinlens list)")
    made.add_argument("data", metavar="DATA", help="a folder of pictures, an .npy or .npz file, or a known name")
    made.add_argument(
        "--views",
        type=int,
        help="views that every run makes; a method that takes more of a sample gets fewer epochs (default: as in "
        f"{PASSES} epochs of a method of two views a sample, at least {LEAST:,}: with fewer, slow starters have hardly "
        "begun)",
    )
    made.add_argument(
        "--minutes",
        type=float,
        help="minutes that every run trains instead, by a speed measured in the first seconds; evaluation comes on top",
    )
    made.add_argument("--seeds", type=int, default=1, help="runs of every method, from other weights and views")
    made.add_argument("--recipe", help=f"tuned settings, for the methods it has: {', '.join(recipes.names())}")
    made.add_argument("--encoder", help="of all methods (default: what each would take)")
    made.add_argument("--batch", type=int, help=f"samples in a step (default: the recipe's, else {Training.batch})")
    made.add_argument("--out", help="folder for the runs, the table and the plot (default: runs/compare-DATA)")
    made.add_argument(
        "--resume", action="store_true", help="go on with the comparison in --out; methods and seeds may be added"
    )
    made.add_argument("--json", action="store_true", help="print JSON, with every setting and run, instead of a table")
    return made


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    try:
        values = parser().parse_intermixed_args(arguments)
    except argparse.ArgumentError as error:
        raise InputError(f"{error}; twinlens compare --help lists what there is.") from error
    settings = {} if values.batch is None else {"batch": values.batch}
    found = compare(
        values.methods, values.data, views=values.views, minutes=values.minutes, seeds=values.seeds,
        recipe=values.recipe, encoder=values.encoder, out=values.out, resume=values.resume, **settings,
    )  # fmt: skip
    if values.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        Console().print(found.table())
    print(f"{found.path}: {FILE}, {PLOT} and a folder for each run are there.", file=sys.stderr)
    if not any(row.runs for row in found.rows):
        raise InputError(f"none of the runs was finished; the first: {found.records[0].error}")
