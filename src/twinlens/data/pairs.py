"""Samples in parts that belong together: a question and its answer, a picture and its caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens.batch import Raw, Samples


@dataclass(eq=False, repr=False, kw_only=True)
class Pairs(Samples):
    """Two parts or more of equal length N: the i-th samples of all belong together.

    `fetch` gives the raw tensors of the first part, then those of the second, and so on. `labels` (N,) are int64
    classes or float64 scores of how alike the first two parts are. `lengths` (N,) are the tokens of all parts together,
    None if no part has any.
    """

    name: str
    parts: tuple[Samples, ...]
    fingerprint: str = ""
    labels: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    names: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    modality: str = field(init=False)
    lengths: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        assert len(self.parts) > 1 and len({len(part) for part in self.parts}) == 1
        self.modality = "+".join(part.modality for part in self.parts)
        known = [part.lengths for part in self.parts if part.lengths is not None]
        self.lengths = torch.stack(known).sum(dim=0) if known else None  # (N,)
        if not self.fingerprint:
            told = "".join(part.fingerprint for part in self.parts).encode()
            told += b"" if self.labels is None else self.labels.tobytes()
            self.fingerprint = blake2b(told, digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def identity(self) -> Tensor | None:
        """That of the second part: two samples with one answer, or one caption, are not to be told apart."""
        return self.parts[1].identity

    @property
    def sizes(self) -> Mapping[str, int]:
        return {name: size for part in self.parts for name, size in part.sizes.items()}

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)

    def fetch(self, index: Tensor) -> Raw:
        return tuple(tensor for part in self.parts for tensor in part.fetch(index))

    def subset(self, index: Tensor) -> "Pairs":
        places = index.cpu().numpy()
        return replace(
            self,
            parts=tuple(part.subset(index) for part in self.parts),
            labels=None if self.labels is None else self.labels[places],
            names=None if self.names is None else [self.names[place] for place in places],
            fingerprint=blake2b(self.fingerprint.encode() + places.tobytes(), digest_size=16).hexdigest(),
        )

    def to(self, device: torch.device | str) -> "Pairs":
        return replace(self, parts=tuple(part.to(device) for part in self.parts))
