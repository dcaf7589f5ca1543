"""Whatever the user names -> samples: pictures, texts, pairs of texts, pictures with captions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinlens.batch import Samples, Split
from twinlens.data import captions, idx, known, tables
from twinlens.data.arrays import Part, from_arrays, from_file
from twinlens.data.folder import PICTURES, from_folder
from twinlens.data.pairs import Pairs
from twinlens.data.pictures import Pictures
from twinlens.data.source import Source
from twinlens.data.text import from_texts, load_text
from twinlens.data.tokenizer import Tokenizer
from twinlens.errors import InputError, unknown

_LEAST = 8  # pixels
_LOOKED_AT = 200  # files of a folder, to see what it holds


Data = str | Path | NDArray[Any] | Sequence[str] | Source | Split | Samples


def load(what: Data, *, size: int | None = None, tokenizer: Tokenizer | None = None) -> Split:
    """Samples from an array, a file, a folder, or a data set known by name; or from a list of texts.

    Files of texts are .txt (one a line), .jsonl, .csv, .tsv and .parquet; folders hold pictures, pictures with
    captions, or .txt files (one text each). `size` is the side in pixels of the views that will be made (None: 64);
    pictures of mixed sizes are stored half as large again. `tokenizer` is an encoder's, None has one trained. A known
    name comes first: write ./digits for a folder of that name. Raises InputError.
    """
    if size is not None and size < _LEAST:
        raise InputError(f"size is {size}: expected a view of at least {_LEAST} pixels")
    if isinstance(what, Split):
        return what
    if isinstance(what, Samples):
        return Split(what)
    if isinstance(what, np.ndarray):
        return from_arrays("array", Part(what), size=size)
    if isinstance(what, list | tuple):
        return Split(from_texts(what, tokenizer=tokenizer))
    if not isinstance(what, str | Path | Source):
        raise InputError(f"data is a {type(what).__name__}: expected a path, a known name, an array or a list of texts")
    if str(what) in known.names():
        return known.from_name(str(what))
    source = what if isinstance(what, Source) else Source(path=str(what))
    path = Path(source.path).expanduser()
    if path.exists():
        return _read(path, source, size, tokenizer)
    raise unknown("path or name of data", source.path, known.names())


def _read(path: Path, source: Source, size: int | None, tokenizer: Tokenizer | None) -> Split:
    kind = modality(path)
    if kind == "text":
        return load_text(source, tokenizer=tokenizer)
    if kind == "image+text" and (found := captions.load_captions(source, size=size, tokenizer=tokenizer)) is not None:
        return found
    if path.is_dir() and (parts := idx.find(path)) is not None:
        return from_arrays(path.name, *parts, size=size)
    if path.is_dir():
        return from_folder(path, size=size)
    if path.suffix.lower() in (".npy", ".npz"):
        return from_file(path, size=size)
    raise InputError(
        f"{path} is not data that is understood: expected a folder of pictures or texts, a .npy, .npz, .txt, .jsonl, "
        f".csv, .tsv or .parquet file, or shards of pictures and captions (.tar)"
    )


def modality(what: Data) -> str:
    """Of which kind data is: "image", "text" or "image+text", by its name and the names in it; no sample is read."""
    if isinstance(what, Split):
        return what.train.modality
    if isinstance(what, Samples):
        return what.modality
    if isinstance(what, list | tuple):
        return "text"
    if not isinstance(what, str | Path | Source) or str(what) in known.names():
        return "image"
    path = Path(str(what)).expanduser()
    if not str(what) or not path.exists():
        return "image"
    text = what.text if isinstance(what, Source) else ""
    return _within(path, text) if path.is_dir() else _named(path)


def _named(path: Path) -> str:
    if path.suffix.lower() == ".tar":
        return "image+text"
    return "text" if tables.holds_rows(path) else "image"


def _within(folder: Path, text: str) -> str:
    """Captions are in shards, in a list or in a .txt beside each picture; texts have no pictures beside them."""
    first = list(islice(folder.rglob("*"), _LOOKED_AT))
    if any(file.suffix.lower() == ".tar" or captions.lists_captions(file, text) for file in folder.iterdir()):
        return "image+text"
    shown = [file for file in first if file.suffix.lower() in PICTURES]
    if any(file.with_suffix(".txt").is_file() for file in shown[:8]):
        return "image+text"
    return "image" if shown or not tables.holds_rows(folder) else "text"


def matching(split: Split, sizes: Mapping[str, int]) -> Split:
    """The same samples with as many channels as an encoder was built for, and without captions that it cannot read.

    InputError for samples that it cannot see at all.
    """
    parts = [part and _matching(part, sizes) for part in (split.train, split.test)]
    assert parts[0] is not None
    return replace(split, train=parts[0], test=parts[1])


def _matching(samples: Samples, sizes: Mapping[str, int]) -> Samples:
    if isinstance(samples, Pairs):
        first, *others = samples.parts
        parts = [_matching(first, sizes), *(_matching(part, sizes) for part in others if _seen(part, sizes))]
        if len(parts) > 1:
            return replace(samples, parts=tuple(parts))
        return parts[0] if samples.labels is None else parts[0].labelled(samples.labels, samples.classes)
    if not _seen(samples, sizes):
        seen, given = ("texts", "pictures") if "vocabulary" in sizes else ("pictures", "texts")
        raise InputError(
            f"{samples.name} holds {given}, and this run's encoder has "
            f"learnt from {seen} alone: give {seen}, or choose another run."
        )
    return samples.with_channels(sizes["channels"]) if isinstance(samples, Pictures) else samples


def _seen(samples: Samples, sizes: Mapping[str, int]) -> bool:
    """Whether an encoder was built for samples of that modality."""
    return samples.sizes.keys() <= sizes.keys()


def pictures(samples: Samples) -> Pictures | None:
    """The pictures among samples: themselves, or one of their parts; None where there are none."""
    parts = samples.parts if isinstance(samples, Pairs) else (samples,)
    return next((part for part in parts if isinstance(part, Pictures)), None)


def tokenizer_of(samples: Samples) -> Tokenizer | None:
    """What made the ids of the texts among samples; None where there are none."""
    parts = (samples, *getattr(samples, "parts", ()))
    return next((part.tokenizer for part in parts if hasattr(part, "tokenizer")), None)
