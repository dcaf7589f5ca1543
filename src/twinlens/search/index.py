"""An index: the embeddings of a corpus by a run's encoder, and what lies nearest to a text or a picture.

Exact, by all cosines: no answer is missed, and up to about a million rows no structure is needed for it to be quick.
"""

import json
import os
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn.functional import normalize

from twinlens import distributed
from twinlens.batch import Samples
from twinlens.data import known
from twinlens.data.decode import decode, measure, stored_side
from twinlens.data.folder import PICTURES
from twinlens.data.load import Data
from twinlens.data.pairs import Pairs
from twinlens.data.pictures import Pictures
from twinlens.data.source import Source
from twinlens.data.text import Texts, from_texts
from twinlens.errors import InputError
from twinlens.nearest import top_k
from twinlens.run import Run

Part = Literal["first", "second"]

_VERSION = 1  # of the file's layout
_KEY = b"twinlens.index"


class Hit(NamedTuple):
    """What was found: its rank from 1, its cosine, its text or the name of its file, and its row in the data.

    Rows count the training part first, then the test part.
    """

    rank: int
    cosine: float
    what: str
    row: int


@dataclass(frozen=True)
class _Facts:
    """What an index was made of: it serves again where all of this is equal."""

    data: str  # the samples' content
    encoder: str
    part: str
    source: str = ""  # the file's bytes and columns, where the data is one file: it need not be read to be told
    side: int = 0  # of the stored pictures in pixels


@dataclass(frozen=True, eq=False)
class Index:
    """A run's encoder, and of what is searched embeddings `vectors` (N, D) of length 1, texts or names, and rows (N,).

    Made by `build`, or by `keep`, which also writes it to a file and finds it there the next time.
    """

    run: Run
    vectors: Tensor
    what: pa.LargeStringArray
    rows: Tensor
    facts: _Facts

    def __len__(self) -> int:
        return len(self.vectors)

    @staticmethod
    def build(run: Run, data: Data, *, part: Part = "first") -> "Index":
        """Embeds all samples of `data`; of data in parts one part: pictures of pictures with captions, or first sides.

        Of texts that are equal, and of a picture with several captions, there is one. Raises InputError.
        """
        return _built(run, _searched(run, data, part), _Facts("", _encoder(run), part))

    @staticmethod
    def keep(run: Run, data: Data, path: str | Path | None = None, *, part: Part = "first") -> "Index":
        """As `build`, from the Parquet file at `path` (in the run's folder, if None) if that is of equal data, encoder.

        Else it is written there. InputError where there is a file that is no index.
        """
        name = Path(str(data)).stem if isinstance(data, str | Path | Source) else getattr(data, "name", "data")
        file = Path(path) if path else run.folder / f"index-{name}-{part}.parquet"
        there, made = _facts(file), _Facts("", _encoder(run), part, _source(data))
        alike = there is not None and (there.encoder, there.part) == (made.encoder, made.part)
        if there is not None and alike and there.source == made.source != "":
            return _read(run, file, there)
        samples = _searched(run, data, part)
        if there is not None and alike and there.data == _content(samples):
            return _read(run, file, there)
        index = _built(run, samples, made)
        _write(index, file)
        return index

    def search(self, query: str | Path, k: int = 10) -> list[Hit]:
        """The `k` nearest by cosine to a text, or to a picture: a path, also as a text that names a picture's file."""
        if k < 1:
            raise InputError(f"k is {k}: expected 1 or more.")
        z = normalize(self._embedded(query)).to(self.vectors.device)
        cosine, place = (found[0].tolist() for found in top_k(z, self.vectors, k))
        return [
            Hit(rank, value, self.what[at].as_py(), int(self.rows[at]))
            for rank, (value, at) in enumerate(zip(cosine, place, strict=True), 1)
        ]

    def _embedded(self, query: str | Path) -> Tensor:
        path = Path(query)
        looks = isinstance(query, Path) or (path.suffix.lower() in PICTURES and _is_file(path))
        if looks or self.run.tokenizer is None:
            return self.run.embeddings(self._picture(path))
        return self.run.embeddings(from_texts([str(query)], name="query", tokenizer=self.run.tokenizer))

    def _picture(self, path: Path) -> Pictures:
        """A picture as those of the corpus are stored, so that one of them is found at a cosine of 1."""
        channels = self.run.facts["data"]["sizes"].get("channels")
        if channels is None:
            raise InputError(f"{path} is a picture, and this run's encoder has learnt from texts alone: ask by a text.")
        if not _is_file(path):
            raise InputError(f"there is no file {str(path)!r}: this encoder sees pictures alone, ask by one's path.")
        header = measure(path)
        side = self.facts.side or (stored_side(np.array([header[:2]]), self.run.size) if header else 0)
        found = decode(path, side, 3) if header else None
        if found is None:
            raise InputError(f"{path} is no picture that can be read: expected a JPEG, PNG or WebP file.")
        pixels, aspect = torch.tensor(found[0])[None], torch.tensor([found[1]], dtype=torch.float32)
        return Pictures(name="query", pixels=pixels, aspect=aspect, fingerprint="").with_channels(channels)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that is no name of a file: too long, a null in it
        return False


def _searched(run: Run, data: Data, part: Part) -> list[Samples]:
    """What is searched of the training part and, if there is one, of the test part."""
    split = run.read(data)
    every = [split.train, split.test] if split.test else [split.train]
    if part == "second" and not isinstance(split.train, Pairs):
        raise InputError(f"{split.train.name} has no second part: leave --part out, or give data in pairs.")
    return [some.parts[part == "second"] if isinstance(some, Pairs) else some for some in every]


def _built(run: Run, every: list[Samples], facts: _Facts) -> Index:
    vectors: list[Tensor] = []
    what: dict[str, int] = {}  # -> row
    start = 0
    for name, samples in zip(("train", "test"), every):
        chosen = []
        for i, said in enumerate(_said(name, samples)):
            if said not in what:
                what[said] = start + i
                chosen.append(i)
        start += len(samples)
        if chosen:
            vectors.append(run.embeddings(samples.subset(torch.tensor(chosen))))
    z = torch.cat(vectors)
    if bad := int((~z.isfinite()).any(1).sum()):
        raise InputError(f"{bad} of {len(z)} embeddings are not finite: the encoder has diverged, train it anew.")
    device, first = distributed.device(), every[0]
    side = first.shape[0] if isinstance(first, Pictures) else 0
    made = _Facts(**{**asdict(facts), "data": _content(every), "side": side})
    rows, said_ = torch.tensor(list(what.values())), pa.array(what, pa.large_string())
    return Index(run, normalize(z).to(device), said_, rows, made)


def _said(part: str, samples: Samples) -> list[str]:
    if isinstance(samples, Texts):
        return [samples.text(i) for i in range(len(samples))]
    if samples.names is not None:
        return list(samples.names)
    return [f"{part} {i}" for i in range(len(samples))]


def _content(every: list[Samples]) -> str:
    return blake2b("".join(samples.fingerprint for samples in every).encode(), digest_size=16).hexdigest()


def _encoder(run: Run) -> str:
    """A hash of all that decides an embedding: weights, tokenizer, and how clean views are made."""
    digest = blake2b(json.dumps([run.facts["encoder"], run.facts["views"]]).encode(), digest_size=16)
    for name in ("encoder.safetensors", "tokenizer.json"):
        if (file := run.folder / name).exists():
            digest.update(_bytes(file))
    return digest.hexdigest()


def _source(data: Data) -> str:
    """A hash of a file's bytes and of the columns that are read; "" where the data is no single file."""
    if not isinstance(data, str | Path | Source) or str(data) in known.names():
        return ""
    path = Path(str(data)).expanduser()
    given = asdict(data) if isinstance(data, Source) else {}
    named = {name: value for name, value in given.items() if value and name not in ("path", "tokens", "vocabulary")}
    return blake2b(json.dumps([path.suffixes, named]).encode() + _bytes(path)).hexdigest() if path.is_file() else ""


def _bytes(path: Path) -> bytes:
    digest = blake2b()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.digest()


def _facts(path: Path) -> _Facts | None:
    """What the index at `path` was made of; None if there is none or one of another version."""
    if not path.exists():
        return None
    try:
        said = json.loads(pq.read_schema(path).metadata[_KEY])
    except (pa.ArrowException, OSError, TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path} is no index, and is not written over: choose another --index.") from error
    return _Facts(**said["facts"]) if said["version"] == _VERSION else None


def _write(index: Index, path: Path) -> None:
    """The file appears under its name only when it is whole."""
    vectors = index.vectors.cpu()
    flat = pa.array(vectors.numpy().ravel())
    columns = {
        "what": index.what,
        "row": pa.array(index.rows.numpy()),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    told: dict[bytes, Any] = {_KEY: json.dumps({"version": _VERSION, "facts": asdict(index.facts)})}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        pq.write_table(pa.table(columns).replace_schema_metadata(told), temporary, use_dictionary=["what"])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(run: Run, path: Path, facts: _Facts) -> Index:
    table = pq.read_table(path).combine_chunks()
    embedding = table["embedding"].combine_chunks()
    flat = embedding.flatten().to_numpy(zero_copy_only=False)
    vectors = torch.tensor(flat).view(len(table), embedding.type.list_size).to(distributed.device())
    what = table["what"].combine_chunks().cast(pa.large_string())
    return Index(run, vectors, what, torch.tensor(table["row"].to_numpy()), facts)
