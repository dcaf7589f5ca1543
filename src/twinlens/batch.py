"""What travels between the stages: samples, the views a method asks for, and a batch of them.

Letters used for shapes everywhere: N samples, V views, C channels, H W pixels, T tokens, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Raw = tuple[Tensor, ...]
"""Raw samples as their modality stores them: tensors that its views understand; nothing else looks inside."""


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
    """

    large: int = 2
    small: int = 0
    strength: Literal["strong", "weak", "asymmetric"] = "strong"
    moving: bool = False
    labels: bool = False
    task: str = ""


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

    `modality` names the file in views/ that understands what `fetch` returns. `labels` (N,) int64 index into `classes`
    and are for evaluation and watching only, except where a method asks for them (`Views.labels`). `names` (N) say
    where samples came from (a file), if that has a name. `fingerprint` is a hash of the content, so that two runs over
    the same data can be told from two runs over different data. `notes` are sentences for the report (files skipped,
    say).
    """

    name: str
    modality: str
    fingerprint: str
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    names: Sequence[str] | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fetch(self, index: Tensor) -> Raw:
        """The raw samples at `index` (n,) int64, in that order."""


class Maker(ABC):
    """Samples -> views, one concrete class in each file of views/; its keyword arguments are settings of a run."""

    @abstractmethod
    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        """The views asked for, drawn for each sample from `key` (N,) alone: no other source of randomness."""

    @abstractmethod
    def clean(self, raw: Raw) -> Tensor:
        """The one view without randomness that a frozen encoder is evaluated on."""
