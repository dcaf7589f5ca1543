"""Texts: ids in memory or on a device, with the strings they were made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens.batch import Raw, Samples, Split
from twinlens.data.columns import Rows, choose
from twinlens.data.pairs import Pairs
from twinlens.data.source import Source
from twinlens.data.tables import read
from twinlens.data.tokenizer import Tokenizer
from twinlens.data.work import track
from twinlens.errors import InputError

_AT_ONCE = 1_000  # texts
_ENOUGH = 20_000_000  # characters a tokenizer is trained on: words that it would meet in more are rare (a guess)


@dataclass(eq=False, repr=False, kw_only=True)
class Texts(Samples):
    """Texts as ids: `fetch` gives ids (S,) int32 of n texts in a row, lengths (n,), prefix (p,), suffix (q,).

    `ids` (S,) and `offsets` (M + 1,) are the storage, `texts` (M,) the strings, and `rows` (N,) the place of each
    sample in it (None: all, in order), so that subsets share one storage. Ids are without special tokens; `prefix`
    and `suffix` are those that `tokenizer` puts around every window. `lengths` (N,) are the tokens of each text.
    """

    modality = "text"

    name: str
    ids: Tensor
    offsets: Tensor
    texts: pa.LargeStringArray
    tokenizer: Tokenizer
    fingerprint: str
    labels: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    names: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    rows: Tensor | None = None
    lengths: Tensor = field(init=False)

    def __post_init__(self) -> None:
        lengths = self.offsets.diff()
        self.lengths = lengths if self.rows is None else lengths[self.rows]  # (N,)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def identity(self) -> Tensor:
        """A hash of each text, of which two different ones of a corpus are as good as never equal."""
        hashes = (blake2b(self.text(i).encode(), digest_size=8).digest() for i in range(len(self)))
        return torch.tensor([int.from_bytes(one, "little", signed=True) for one in hashes], dtype=torch.int64)

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"vocabulary": self.tokenizer.vocabulary}

    @property
    def nbytes(self) -> int:
        return int(self.lengths.sum()) * self.ids.element_size()

    def fetch(self, index: Tensor) -> Raw:
        index = index.to(self.ids.device)
        rows = index if self.rows is None else self.rows[index]
        lengths = self.lengths[index]  # (n,)
        ends = lengths.cumsum(0)
        shift = self.offsets[rows] - (ends - lengths)  # from places in the result to places in the storage
        places = torch.arange(int(lengths.sum()), device=index.device) + shift.repeat_interleave(lengths)
        around = (torch.tensor(some, dtype=torch.int64) for some in (self.tokenizer.prefix, self.tokenizer.suffix))
        return self.ids[places], lengths, *(some.to(index.device) for some in around)

    def subset(self, index: Tensor) -> "Texts":
        at = index.to(self.ids.device)
        places = at.cpu().numpy()
        return replace(
            self,
            rows=at if self.rows is None else self.rows[at],
            labels=None if self.labels is None else self.labels[places],
            names=None if self.names is None else [self.names[place] for place in places],
            fingerprint=blake2b(self.fingerprint.encode() + places.tobytes(), digest_size=16).hexdigest(),
        )

    def to(self, device: torch.device | str) -> "Texts":
        ids, lengths, *_ = self.fetch(torch.arange(len(self)))
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        texts = self.texts if self.rows is None else self.texts.take(pa.array(self.rows.cpu().numpy()))
        return replace(self, ids=ids.to(device), offsets=offsets.to(device), texts=texts, rows=None)

    def text(self, i: int) -> str:
        """The i-th text as it was given."""
        said: str = self.texts[i if self.rows is None else int(self.rows[i])].as_py()
        return said


def load_text(source: Source, *, tokenizer: Tokenizer | None = None) -> Split:
    """The texts of a file or folder (`tables.read`), or `Pairs` of texts where it has the columns of pairs.

    `tokenizer` is an encoder's; without one it is the source's, which may be trained on the part to learn from, on all
    sides of pairs together. Raises InputError.
    """
    table = read(source.path)
    train, test, notes = choose(table, source)
    if tokenizer is None:
        tokenizer = source.tokenizer(Strings(train.sides))
    return Split(*(_made(table.name, rows, tokenizer, notes) for rows in (train, test) if rows is not None))


def from_texts(
    texts: Sequence[str],
    *,
    name: str = "texts",
    labels: NDArray[np.integer[Any]] | None = None,
    tokenizer: Tokenizer | None = None,
    kind: str = "wordpiece",
    vocabulary: int = 8192,
) -> Texts:
    """Texts from strings in memory, all kept, with integer labels (N,) if there are any. Raises InputError."""
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{name} is not a list of texts: expected one string or more, in a list")
    stored = pa.array([text.encode(errors="replace").decode() for text in texts], pa.large_string())
    if tokenizer is None:
        tokenizer = Tokenizer.train(Strings([stored]), kind=kind, vocabulary=vocabulary)
    made = tokenised(name, stored, tokenizer)
    return made if labels is None else made.with_labels(np.asarray(labels))


def tokenised(name: str, texts: pa.LargeStringArray, tokenizer: Tokenizer) -> Texts:
    """Strings (N,) as samples, read a thousand at a time, so that memory stays near the size of the corpus."""
    batches = [texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE)]
    digest = blake2b(len(texts).to_bytes(8, "big"), digest_size=16)
    ids, lengths = [torch.empty(0, dtype=torch.int32)], [torch.zeros(1, dtype=torch.int64)]
    size = sum(map(_bytes, batches))
    for batch in track(batches, size, f"tokenising {name}", _bytes):
        strings = batch.to_pylist()
        for string in strings:
            digest.update(len(coded := string.encode()).to_bytes(8, "big") + coded)
        for whole, some in zip((ids, lengths), tokenizer.encode(strings)):
            whole.append(some)
    return Texts(
        name=name,
        ids=torch.cat(ids),
        offsets=torch.cat(lengths).cumsum(0),
        texts=texts,
        tokenizer=tokenizer,
        fingerprint=digest.hexdigest(),
    )


def _bytes(texts: pa.LargeStringArray) -> int:
    return int(pc.sum(pc.binary_length(texts)).as_py() or 0)


def _made(name: str, rows: Rows, tokenizer: Tokenizer, notes: tuple[str, ...]) -> Samples:
    parts = tuple(tokenised(name, side, tokenizer) for side in rows.sides)
    about: dict[str, Any] = {"labels": rows.labels, "classes": rows.classes, "names": rows.names, "notes": notes}
    if len(parts) > 1:
        return Pairs(name=name, parts=parts, **about)
    (texts,) = parts
    told = texts.fingerprint.encode() + (b"" if rows.labels is None else rows.labels.tobytes())
    return replace(texts, fingerprint=blake2b(told, digest_size=16).hexdigest(), **about)


class Strings:
    """The strings of several columns, read as often as asked, a few at a time; of many only every second, third, ..."""

    def __init__(self, columns: Sequence[pa.LargeStringArray]) -> None:
        size = sum(map(_bytes, columns))
        self._columns = [column[:: max(1, -(-size // _ENOUGH))] for column in columns]

    def __iter__(self) -> Iterator[str]:
        for column in self._columns:
            for start in range(0, len(column), _AT_ONCE):
                yield from column[start : start + _AT_ONCE].to_pylist()
