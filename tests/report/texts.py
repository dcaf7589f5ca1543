"""Stand-ins for texts, pairs and what makes views of them, as a report sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from twinlens import random
from twinlens.batch import PAD, Maker, Raw, Samples, Views

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """Words by their place in a list; what begins with ## continues a word; special ones say nothing."""

    prefix, suffix, mask = (2,), (3,), 4

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [*SPECIAL, *words]
        self.vocabulary = len(self.words)

    def text(self, ids: Sequence[int]) -> str:
        assert all(0 <= i < self.vocabulary for i in ids), "what fills up is no word"
        return " ".join(self.words[i] for i in ids if i >= len(SPECIAL)).replace(" ##", "")

    def ids(self, text: str) -> list[int]:
        return [self.words.index(word) for word in text.split()]


def tokenizer_of(texts: Sequence[str]) -> Tokenizer:
    return Tokenizer(sorted({word for text in texts for word in text.split()}))


@dataclass(eq=False)
class Lines(Samples):
    """Texts of a few words."""

    texts: Sequence[str]
    tokenizer: Tokenizer
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    name, modality, fingerprint, nbytes = "lines", "text", "0", 0

    def __len__(self) -> int:
        return len(self.texts)

    def text(self, i: int) -> str:
        return self.texts[i]

    def fetch(self, index: Tensor) -> Raw:
        rows = [self.tokenizer.ids(self.texts[i]) for i in index.tolist()]
        flat = torch.tensor([i for row in rows for i in row], dtype=torch.int32)
        ends = torch.tensor(self.tokenizer.prefix), torch.tensor(self.tokenizer.suffix)
        return flat, torch.tensor([len(row) for row in rows]), *ends

    def subset(self, index: Tensor) -> "Lines":
        raise NotImplementedError

    @property
    def sizes(self) -> dict[str, int]:
        return {"vocabulary": self.tokenizer.vocabulary}

    def to(self, device: torch.device | str) -> "Lines":
        return self


class Cropped(Maker):
    """The whole text between its special tokens; as a view a run of half its words."""

    takes = 4
    sizes: ClassVar = {"length": 0}

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        flat, lengths, prefix, suffix = raw
        count = 1 if views.paired else views.large
        starts = random.uniform(key, count)  # (N, V)
        made = []
        for v in range(count):
            kept = (lengths + 1) // 2 if count > 1 else lengths
            rows = [
                words[int(start * (len(words) - keep + 1)) :][:keep]
                for words, start, keep in zip(flat.split(lengths.tolist()), starts[:, v], kept.tolist(), strict=True)
            ]
            made.append(self._filled(rows, prefix, suffix))
        return tuple(made)

    def clean(self, raw: Raw) -> Tensor:
        flat, lengths, prefix, suffix = raw
        return self._filled(flat.split(lengths.tolist()), prefix, suffix)

    def _filled(self, rows: Sequence[Tensor], prefix: Tensor, suffix: Tensor) -> Tensor:
        whole = [torch.cat((prefix, row.long(), suffix)) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(whole, batch_first=True, padding_value=PAD)


@dataclass(eq=False)
class Pictures(Samples):
    """Pictures (N, H, W, C) uint8 without names."""

    pixels: Tensor
    name, modality, fingerprint, nbytes, sizes = "pictures", "image", "0", 0, {"channels": 3}

    def __len__(self) -> int:
        return len(self.pixels)

    def fetch(self, index: Tensor) -> Raw:
        return self.pixels[index], torch.ones(len(index))

    def subset(self, index: Tensor) -> "Pictures":
        raise NotImplementedError

    def to(self, device: torch.device | str) -> "Pictures":
        return self


class Plain(Maker):
    """A picture as it is, whatever is asked for."""

    takes = 2
    sizes: ClassVar = {"size": 8}

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        return (self.clean(raw),) * (1 if views.paired else views.large)

    def clean(self, raw: Raw) -> Tensor:
        return raw[0].permute(0, 3, 1, 2).float() / 64 - 2


@dataclass(eq=False)
class Pairs(Samples):
    """Samples that belong together."""

    parts: tuple[Samples, ...]
    labels: np.ndarray | None = None
    name, fingerprint, nbytes, sizes = "pairs", "0", 0, {}

    @property
    def modality(self) -> str:
        return "+".join(part.modality for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def fetch(self, index: Tensor) -> Raw:
        return tuple(tensor for part in self.parts for tensor in part.fetch(index))

    def subset(self, index: Tensor) -> "Pairs":
        raise NotImplementedError

    def to(self, device: torch.device | str) -> "Pairs":
        return self


class Paired(Maker):
    """One view of each part."""

    sizes: ClassVar = {}

    def __init__(self, parts: tuple[Maker, ...]) -> None:
        self.parts, self.takes = parts, sum(part.takes for part in parts)

    def split(self, raw: Raw) -> list[Raw]:
        ends = np.cumsum([part.takes for part in self.parts])
        return [raw[end - part.takes : end] for part, end in zip(self.parts, ends, strict=True)]

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        return tuple(
            part.create(some, random.fold(key, i), views)[0]
            for i, (part, some) in enumerate(zip(self.parts, self.split(raw), strict=True))
        )

    def clean(self, raw: Raw) -> Tensor:
        return self.parts[0].clean(self.split(raw)[0])
