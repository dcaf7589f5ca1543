"""Siamese network: views of one sample lie near each other, views of different samples farther by a margin."""

from typing import Literal

import torch
from torch import Tensor, nn

from twinlens import losses
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.heads.mlp import mlp
from twinlens.losses.metric import Distance, Mining
from twinlens.method import Method

MARGINS = {"triplet": 0.1, "margin": 0.5}  # where none is given


class Siamese(Method):
    """Schroff, Kalenichenko, Philbin 2015, "FaceNet: a unified embedding for face recognition and clustering".

    arXiv 1503.03832, section 3, for triplets. For pairs: Hadsell, Chopra, LeCun 2006, "Dimensionality reduction by
    learning an invariant mapping", equation 4. One network for both views: Bromley et al. 1993, "Signature
    verification using a 'Siamese' time delay neural network". Labels there, samples here: two views are alike if they
    are of one sample.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        loss: "triplet" over all views of the batch, or "margin": each first view with its own second view and with
            those of the next `negatives` samples, every pair of the same weight, as Hadsell et al. sum them; triplet.
        hidden: Width of the projection head's hidden layer; 2048, SimCLR's (arXiv 2002.05709, section 2.1),
            as the papers above have no head.
        dim: Width of the projection; 128 (Schroff et al., section 5.4).
        distance: "cosine", 1 - cos, which is half of Schroff et al.'s squared distance of unit vectors, or "euclidean",
            of vectors as they are (Hadsell et al.); cosine, since lengths cannot shrink to nothing.
        margin: By how much a negative has to be farther than the positive, or how far an unlike pair has to be apart;
            by default 0.1 for triplets, Schroff et al.'s 0.2 of twice this distance (section 3.3), and 0.5 for pairs,
            that of sentence-transformers' ContrastiveLoss.
        mining: Which triplets: "semi-hard", "hard" (Hermans et al. 2017, arXiv 1703.07737, eq. 5), "all" or "active";
            semi-hard, since the hardest negatives can collapse an untrained network (Schroff et al., section 3.2).
        negatives: Unlike pairs of a sample; 1, as many as there are alike, a guess.
    """

    views = Views(large=2)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        loss: Literal["triplet", "margin"] = "triplet",
        hidden: int = 2048,
        dim: int = 128,
        distance: Distance = "cosine",
        margin: float | None = None,
        mining: Mining = "semi-hard",
        negatives: int = 1,
    ) -> None:
        super().__init__()
        if loss not in MARGINS:
            raise InputError(f"loss is {loss!r}: expected one of {', '.join(MARGINS)}.")
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, dim)
        self.loss, self.distance, self.margin = loss, distance, MARGINS[loss] if margin is None else margin
        self.mining, self.negatives = mining, negatives

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z1, z2 = self.project(torch.cat([self.encoder(views) for views in batch.by_size()])).chunk(2)  # (N, dim)
        return z1, z2, batch.index

    def compare(self, z1: Tensor, z2: Tensor, index: Tensor) -> Tensor:
        far, distance = self.margin, self.distance
        if self.loss == "triplet":
            z, ids = torch.cat((z1, z2)), index.repeat(2)
            return losses.triplet(z, ids, margin=far, mining=self.mining, distance=distance)
        shifts = range(1 + self.negatives)  # an epoch's order is random, so the next sample is any other
        others = torch.cat([z2.roll(-shift, 0) for shift in shifts])
        same = torch.cat([index == index.roll(-shift) for shift in shifts])
        return losses.margin(z1.repeat(len(shifts), 1), others, same, margin=far, distance=distance)
