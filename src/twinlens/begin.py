"""What of an encoder starts where the data says, before the first step."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from twinlens.batch import Samples
from twinlens.data.text import Texts
from twinlens.data.work import track
from twinlens.encoders.cooccurrence import word_vectors
from twinlens.encoders.tokens import Table, Tokens

_PART, _ENOUGH = 2_000_000, 50_000_000  # words that are counted at once, and in all: of more texts some (guesses)


def begin(encoder: nn.Module, samples: Samples) -> None:
    """Lets the words of each part of `encoder` that has `word_vectors` start where the texts of `samples` put them."""
    tables = [part.embed for part in encoder.modules() if isinstance(part, Tokens) and part.word_vectors]
    texts = [part for part in (samples, *getattr(samples, "parts", ())) if isinstance(part, Texts)]
    for table in tables if texts else ():
        assert isinstance(table, Table)
        table.start(word_vectors(counted(texts), *table.weight.shape))


def counted(texts: list[Texts]) -> Iterator[tuple[Tensor, Tensor]]:
    """The texts in parts, ids and lengths, with progress."""
    step = -(-sum(int(part.lengths.sum()) for part in texts) // _ENOUGH)
    some = [part.subset(torch.arange(0, len(part), step)) for part in texts] if step > 1 else texts
    parts = (
        (part, index) for part in some for index in torch.arange(len(part)).tensor_split(_ends(part.lengths).tolist())
    )
    total = sum(part.nbytes for part in some)
    for part, index in track(parts, total, "counting words", lambda each: int(each[0].lengths[each[1]].sum()) * 4):
        ids, lengths, *_ = part.fetch(index)
        yield ids.cpu(), lengths.cpu()


def _ends(lengths: Tensor) -> Tensor:
    """Where to part texts of these lengths so that each part has about as many words as are counted at once."""
    number = lengths.cumsum(0) // _PART
    return (number.diff() > 0).nonzero()[:, 0] + 1
