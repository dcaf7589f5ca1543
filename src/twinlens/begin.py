"""What of an encoder starts where the data says, before the first step."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from twinlens.batch import Samples
from twinlens.data.text import Texts
from twinlens.data.work import track
from twinlens.encoders.cooccurrence import word_vectors, word_weights
from twinlens.encoders.tokens import Table, Tokens

_PART, _ENOUGH = 2_000_000, 50_000_000  # words that are counted at once, and in all: of more texts some (guesses)


@torch.no_grad()
def begin(encoder: nn.Module, samples: Samples) -> None:
    """Lets the words of each part of `encoder` that has `word_vectors` start where the texts of `samples` put them.

    So do their weights in the mean, in which the tokenizer's own, such as [CLS], count as if said once in every text.
    """
    texts = [part for part in (samples, *getattr(samples, "parts", ())) if isinstance(part, Texts)]
    for part in encoder.modules() if texts else ():
        if isinstance(part, Tokens) and part.word_vectors:
            table = part.embed
            assert isinstance(table, Table)
            table.start(word_vectors(counted(texts), *table.weight.shape))
            around = texts[0].tokenizer.special
            part.word_weights.copy_(word_weights(counted(texts, "weighing words"), len(table.weight), around))


def counted(texts: list[Texts], doing: str = "counting words") -> Iterator[tuple[Tensor, Tensor]]:
    """The texts in parts, ids and lengths, with progress of what is being done."""
    step = -(-sum(int(part.lengths.sum()) for part in texts) // _ENOUGH)
    some = [part.subset(torch.arange(0, len(part), step)) for part in texts] if step > 1 else texts
    parts = (
        (part, index) for part in some for index in torch.arange(len(part)).tensor_split(_ends(part.lengths).tolist())
    )
    total = sum(part.nbytes for part in some)
    for part, index in track(parts, total, doing, lambda each: int(each[0].lengths[each[1]].sum()) * 4):
        ids, lengths, *_ = part.fetch(index)
        yield ids.cpu(), lengths.cpu()


def _ends(lengths: Tensor) -> Tensor:
    """Where to part texts of these lengths so that each part has about as many words as are counted at once."""
    number = lengths.cumsum(0) // _PART
    return (number.diff() > 0).nonzero()[:, 0] + 1
