"""Which columns of a table a verb reads: the options that are common to all verbs that read data."""

import argparse
from typing import Any

import docstring_parser

from twinlens.data.source import Source

DATA = (
    "a folder of pictures, of pictures with captions or of texts; an .npy, .npz, .txt, .jsonl, .csv, .tsv or .parquet "
    "file; shards (.tar); or a known name"
)
_NAMES = ("text", "positive", "score", "label", "split", "where")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser, each without a value where the column has one of the usual names."""
    group = parser.add_argument_group("columns", "of a table that are not recognised by their usual names")
    about = {one.arg_name: one.description for one in docstring_parser.parse(Source.__doc__ or "").params}
    for name in _NAMES:
        kind = "CONDITION" if name == "where" else "COLUMN"
        group.add_argument(f"--{name}", default="", metavar=kind, help=about[name])


def source(values: Any) -> str | Source:
    """The data that parsed arguments name, with its columns where some are named."""
    named = {name: getattr(values, name) for name in _NAMES if getattr(values, name)}
    return Source(path=values.data, **named) if named else str(values.data)
