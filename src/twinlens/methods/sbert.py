"""Sentence-BERT: from the embeddings of two texts, tell how they stand to each other."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.losses.inputs import unit
from twinlens.method import Method


class SBERT(Method):
    """Reimers & Gurevych 2019, "Sentence-BERT: sentence embeddings using Siamese BERT-networks".

    arXiv 1908.10084, section 3. It learns from the labels of its pairs: a class, such as entailment, contradiction or
    neither, or a score, such as how alike two sentences are. One encoder for both views.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        objective: "classification", softmax(W (u, v, |u - v|)), or "regression", the squared error of the cosine of u
            and v; classification.
        classes: How many classes there are; 0, in a run, is as many as the data has. Ignored for regression.
        largest: The score of two that are alike, where 0 is that of two that are not; 5 (section 4.2, of STS). Scores
            are divided by it. Ignored for classification.
    """

    views = Views(large=2, paired=True, labels=True)
    coupled = False

    def __init__(
        self, encoder: nn.Module, *, objective: Literal["classification", "regression"] = "classification",
        classes: int = 0, largest: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if objective not in ("classification", "regression"):
            raise InputError(f"objective is {objective!r}: expected classification or regression.")
        learns = objective == "classification"
        if learns and classes < 2:
            raise InputError(
                f"classes is {classes}: expected 2 or more; where pairs have scores, set --objective regression."
            )
        if not largest > 0:
            raise InputError(f"largest is {largest}: expected a number above 0, the score of two that are alike.")
        self.encoder, self.classes, self.largest = encoder, classes, largest
        self.W = nn.Linear(3 * dim_of(encoder), classes, bias=False) if learns else None

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        assert batch.target is not None
        u, v = (self.encoder(view) for view in batch.views[:2])  # (N, D) each
        if self.W is None:
            return ((unit(u) * unit(v)).sum(dim=1).sub(self.score(batch.target).to(u)).square(),)
        o = self.W(torch.cat((u, v, (u - v).abs()), dim=1))  # (N, classes)
        return (F.cross_entropy(o, self.answer(batch.target), reduction="none"),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def answer(self, target: Tensor) -> Tensor:
        """Classes (N,) int64; InputError for one that there is not, or where labels are amounts."""
        y = target.long()
        if bool((y != target).any()) or bool((y < 0).any()) or bool((y >= self.classes).any()):
            raise InputError(
                f"labels from {target.min().item()} to {target.max().item()}: expected classes from 0 to "
                f"{self.classes - 1}; set --classes, or --objective regression where they are scores."
            )
        return y

    def score(self, target: Tensor) -> Tensor:
        """Scores (N,) in [0, 1]; InputError for one that is beyond."""
        if bool(((target < 0) | (target > self.largest)).any()):
            raise InputError(
                f"scores from {target.min().item()} to {target.max().item()}: expected 0 to {self.largest}; set "
                f"--largest to the score of two that are alike."
            )
        return target.double() / self.largest
