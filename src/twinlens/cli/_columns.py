"""Which columns of a table a verb reads: the options that are common to all verbs that read data."""

import argparse
from typing import Any

from twinlens.data.load import Source

DATA = (
    "a folder of pictures, of pictures with captions or of texts; an .npy, .npz, .txt, .jsonl, .csv, .tsv or .parquet "
    "file; shards (.tar); or a known name"
)
_ABOUT = {
    "text": "column of the texts, or of the first sides of pairs; title+text joins two",
    "positive": "column of the second sides of pairs",
    "score": "column of how alike the sides of a pair are",
    "label": "column of the classes",
    "split": "column that says train or test",
    "where": "only rows such as lang=en; several conditions are separated by commas",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser, each without a value where the column has one of the usual names."""
    group = parser.add_argument_group("columns", "of a table that are not recognised by their usual names")
    for name, about in _ABOUT.items():
        group.add_argument(f"--{name}", default="", metavar="CONDITION" if name == "where" else "COLUMN", help=about)


def source(values: Any) -> str | Source:
    """The data that parsed arguments name, with its columns where some are named."""
    named = {name: getattr(values, name) for name in _ABOUT if getattr(values, name)}
    return Source(path=values.data, **named) if named else str(values.data)
