"""twinlens mine RUN PAIRS --out FILE.jsonl: pairs of texts with hard negatives, as a run's encoder sees them."""

import argparse
import json
import sys
from pathlib import Path

from twinlens import checkpoint
from twinlens.cli import _columns
from twinlens.run import load
from twinlens.search.negatives import WINDOW, with_negatives


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens mine", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument(
        "data", metavar="PAIRS", help="pairs of texts that belong together: a .jsonl, .csv, .tsv or .parquet file"
    )
    parser.add_argument("--out", required=True, help="the .jsonl file to write")
    parser.add_argument("--negatives", type=int, default=1, help="of each pair")
    parser.add_argument(
        "--window", type=int, nargs=2, default=WINDOW, metavar=("FROM", "TO"),
        help="ranks they are taken from: the very nearest may be answers that nobody has marked (default: 10 100)",
    )  # fmt: skip
    parser.add_argument("--margin", type=float, help="how much nearer than a negative the positive is, at least")
    parser.add_argument("--relative", type=float, help="the same as a share of the positive's cosine, such as 0.05")
    _columns.add(parser)
    values = parser.parse_args(arguments)
    found = with_negatives(
        load(values.run), _columns.source(values), count=values.negatives, window=tuple(values.window),
        margin=values.margin, relative=values.relative,
    )  # fmt: skip
    out = Path(values.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows))
    left = f"; {found.left_out:,} pairs had too few and were left out" if found.left_out else ""
    print(f"{out}: {len(found.rows):,} pairs with {values.negatives} negatives each{left}.", file=sys.stderr)
    print(f"Train on them:  twinlens pretrain {out} --method ranking", file=sys.stderr)
