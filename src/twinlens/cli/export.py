"""twinlens export RUN --out FOLDER: the encoder of texts as a folder that other libraries open."""

import argparse
import sys
from typing import Any

from twinlens.errors import InputError
from twinlens.export import save_sentence_transformer, save_transformers
from twinlens.run import load

_SAVE = {"sentence-transformers": save_sentence_transformer, "transformers": save_transformers}


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens export", description=__doc__)
    parser.add_argument("run", help="a run's folder")
    parser.add_argument("--out", required=True, help="the folder to write")
    parser.add_argument("--format", choices=list(_SAVE), default="sentence-transformers", help="what is to open it")
    values = parser.parse_args(arguments)
    trained = load(values.run)
    if trained.modality.split("+")[0] != "text" or trained.tokenizer is None:
        raise InputError(f"{values.run} has an encoder of {trained.modality}: only one of texts can be exported.")
    maker: Any = trained.maker("text")
    _SAVE[values.format](trained.encoder, trained.tokenizer, values.out, length=maker.length)
    print(f"{values.out}: open it with {values.format}.", file=sys.stderr)
