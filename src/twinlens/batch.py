"""What travels between the stages: samples, the views a method asks for, and a batch of them.

Letters used for shapes everywhere: N samples, V views, C channels, H W pixels, T tokens, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens.errors import InputError

Raw = tuple[Tensor, ...]
"""Raw samples as their modality stores them: tensors that its views understand; nothing else looks inside."""

PAD = -1
"""Fills a row of ids up where its sample is shorter than others: no word, never seen by another, never asked for."""


@dataclass(frozen=True)
class Views:
    """What a method asks of the data, whatever the modality.

    `large` views show most of a sample and come first in `Batch.views`; `small` ones show a part of it (multi-crop).
    `strength` says how far two views of a sample may differ: "strong" (contrastive recipes), "weak" (masked and
    generative methods, where the mask or the noise is the task) or "asymmetric" (strong, but the first two views are
    drawn from different distributions, as in BYOL, appendix B). `moving` says that the large views are moments of one
    sample that follow each other evenly: frames of a clip; of a still picture, what a camera sees that moves over it.
    `labels` says that the method learns from labels: they come as `Batch.target`, and data without them is refused.
    `task` names a question that is made of the views (`twinlens.views.tasks`), whose answer comes as `Batch.target`.
    `paired` says that the views are the data's own parts, one of each: a picture and its caption; a question, its
    answer and what is no answer to it. Of data without parts they are `large` views of a sample.
    """

    large: int = 2
    small: int = 0
    strength: Literal["strong", "weak", "asymmetric"] = "strong"
    moving: bool = False
    labels: bool = False
    task: str = ""
    paired: bool = False


class Batch(NamedTuple):
    """The views of N samples, as `Method.encode` sees them.

    `views` holds `Views.large + Views.small` entries whose first axis is the sample, or those that a task shows of
    them. `index` (N,) is each sample's place in its source, `key` (N,) its counted randomness for this epoch (see
    `random`), for draws that are a method's own. `target` (N, ...), if the views carry an answer (a label, a rotation),
    is that answer.
    """

    views: tuple[Tensor, ...]
    index: Tensor  # type: ignore[assignment]  # tuple.index is not missed
    key: Tensor
    target: Tensor | None = None

    def by_size(self) -> list[Tensor]:
        """The views of one size side by side, in order, (V'N, ...) each, so that an encoder runs once for a size."""
        return [torch.cat(list(views)) for _, views in groupby(self.views, key=lambda view: view.shape)]


class Samples(ABC):
    """What the user has, read once and ready to be made into views: the only thing a data file gives.

    `modality` names the file in views/ that understands what `fetch` returns; of data in parts it is theirs, joined by
    "+" ("image+text"). `labels` (N,) are for evaluation and watching only, except where a method asks for them
    (`Views.labels`): int64 that index into `classes`, or float64 where they are amounts, such as how alike the two
    parts of a pair are. `names` (N) say where samples came from (a file), if that has a name. `fingerprint` is a hash
    of the content, so that two runs over the same data can be told from two runs over different data. `notes` are
    sentences for the report (files skipped, say). `sizes` are what an encoder has to know of the data to be built:
    {"channels": 3} of pictures, {"vocabulary": 8192} of texts. `lengths` (N,) int64 are the tokens of each sample,
    where samples differ in that.
    """

    name: str
    modality: str
    fingerprint: str
    labels: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    names: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    lengths: Tensor | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fetch(self, index: Tensor) -> Raw:
        """The raw samples at `index` (n,) int64, in that order."""

    @abstractmethod
    def subset(self, index: Tensor) -> Self:
        """The samples at `index` (n,) int64, in that order, over the same storage."""

    @property
    def identity(self) -> Tensor | None:
        """(N,) int64, equal where samples are the same, such as a text that occurs twice; None where none are."""
        return None

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, int]: ...

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """What these samples (not their whole storage) take in memory."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same samples in the memory of `device`, without the rest of their storage."""

    def with_labels(self, labels: NDArray[np.integer[Any]]) -> Self:
        """The same samples with other labels (N,), whose distinct values are the classes."""
        if labels.dtype.kind not in "iu" or labels.shape != (len(self),):
            raise InputError(
                f"labels are {labels.dtype} {labels.shape}: expected one integer for each sample, ({len(self)},)"
            )
        values, places = np.unique(labels, return_inverse=True)
        return self.labelled(places.astype(np.int64), tuple(map(str, values)))

    def labelled(self, labels: NDArray[Any], classes: tuple[str, ...] = ()) -> Self:
        """The same samples with `labels` (N,) as they are."""
        other = copy(self)
        other.labels, other.classes = labels, classes
        return other


@dataclass(frozen=True)
class Split:
    """The samples to learn from and, where the data has them, those held out."""

    train: Samples
    test: Samples | None = None


class Maker(ABC):
    """Samples -> views, one concrete class in each file of views/; its keyword arguments are settings of a run.

    `takes` is how many tensors its raw samples are. `sizes` are what an encoder has to know of its views to be built:
    {"size": 32} of pictures, {"length": 128} of texts.
    """

    takes: ClassVar[int]

    @abstractmethod
    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        """The views asked for, drawn for each sample from `key` (N,) alone: no other source of randomness."""

    @abstractmethod
    def clean(self, raw: Raw) -> Tensor:
        """The one view without randomness that a frozen encoder is evaluated on."""

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, int]: ...


@runtime_checkable
class Divides(Protocol):
    """A maker that can show a frozen encoder more of a sample than one view: what it gives is then their mean."""

    def pieces(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Clean views (M, ...) and the sample that each is of, (M,) int64, in order and of every sample one or more."""
