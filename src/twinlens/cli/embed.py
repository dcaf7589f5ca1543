"""twinlens embed RUN DATA --out FILE: the embeddings of every sample, as Parquet."""

import argparse
import sys

from twinlens.cli import _columns
from twinlens.run import load


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens embed", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument("data", help=_columns.DATA)
    parser.add_argument("--out", required=True, help="the Parquet file to write")
    _columns.add(parser)
    values = parser.parse_args(arguments)
    rows, dim = load(values.run).embed_to(_columns.source(values), values.out)
    print(f"{values.out}: {rows:,} rows of {dim} numbers.", file=sys.stderr)
