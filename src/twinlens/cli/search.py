"""twinlens search RUN DATA [QUERY ...]: what of the data lies nearest to a text or to a picture, by cosine."""

import argparse
import json
import sys
import time
from collections.abc import Iterator

from twinlens.cli import _columns
from twinlens.errors import InputError
from twinlens.run import load
from twinlens.search import Hit, Index

_SHOWN = 100  # characters


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens search", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument("data", help=f"what is searched: {_columns.DATA}")
    parser.add_argument(
        "query", nargs="*", help="a text, or a picture's path (default: asked for, or read line by line)"
    )
    parser.add_argument("--k", type=int, default=10, help="how many are found")
    parser.add_argument(
        "--part", choices=("first", "second"), default="first", help="of data in pairs; pictures come before captions"
    )
    parser.add_argument(
        "--index", help="the Parquet file that keeps the embeddings for the next time (default: in the run's folder)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object for each query, one a line")
    _columns.add(parser)
    values = parser.parse_intermixed_args(arguments)
    judged = load(values.run)
    print(f"embedding {values.data}, unless it was embedded before", file=sys.stderr)
    index = Index.keep(judged, _columns.source(values), values.index, part=values.part)
    print(f"{len(index):,} to search", file=sys.stderr)
    assert judged.encoder is not None  # loaded before an answer is timed
    for query in values.query or _asked():
        try:
            began = time.perf_counter()
            found = index.search(query, k=values.k)
            took = 1000 * (time.perf_counter() - began)
        except InputError as error:
            if values.query:
                raise
            print(f"twinlens: {error}", file=sys.stderr)
            continue
        print(_json(query, found, took) if values.json else _lines(query, found, took), flush=True)


def _asked() -> Iterator[str]:
    """Queries from the standard input, a line each; on a terminal it is said that one is expected."""
    while True:
        if sys.stdin.isatty():
            print("query (Ctrl+D ends): ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _json(query: str, found: list[Hit], took: float) -> str:
    return json.dumps(
        {"query": query, "milliseconds": round(took, 2), "hits": [hit._asdict() for hit in found]}, ensure_ascii=False
    )


def _lines(query: str, found: list[Hit], took: float) -> str:
    lines = [f"{hit.rank:>4}  {hit.cosine:6.3f}  {_short(hit.what)}" for hit in found]
    return "\n".join([f"{_short(query)}  ({took:.1f} ms)", *lines])


def _short(text: str) -> str:
    """The beginning of a text in one line, without what would move a terminal's cursor."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _SHOWN]).split())[:_SHOWN]
