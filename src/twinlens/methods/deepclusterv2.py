"""DeepCluster-v2: every view names the cluster in which k-means over the whole data put its sample an epoch ago."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.heads.mlp import mlp
from twinlens.losses.inputs import unit
from twinlens.method import Method


def k_means(z: Tensor, c: Tensor, *, iterations: int, chunk: int = 2**24) -> tuple[Tensor, Tensor]:
    """Spherical k-means of `z` (N, D) from the centroids `c` (K, D), rows of length 1: the centroids, and q (N,) int64.

    Equation 11, minimised over q and C in turn; a cluster without samples keeps its centroid (authors' code). No more
    than `chunk` similarities exist at a time.
    """
    parts = z.split(max(chunk // len(c), 1))
    for _ in range(iterations):
        total = torch.zeros_like(c, dtype=torch.int64)
        for rows in parts:  # whole numbers add up to the same in any order, so that all processes agree to the bit
            total.index_add_(0, (rows @ c.T).argmax(dim=1), (rows * 2**32).long())
        c = torch.where(total.any(dim=1, keepdim=True), unit(total.to(c)), c)
    return c, torch.cat([(rows @ c.T).argmax(dim=1) for rows in parts])


class DeepClusterV2(Method):
    """Caron et al. 2020, "Unsupervised learning of visual features by contrasting cluster assignments".

    arXiv 2006.09882, appendix D, over Caron et al. 2018, "Deep clustering [...]", arXiv 1807.05520. An epoch's
    embeddings of the large views are kept; at its end each clustering takes those of one view, by turns. Samples that
    the epoch left out belong to no cluster and to no loss of the next epoch (authors' code).

    In the first epoch every sample is a cluster of its own, beside those of its batch: the authors' code begins with a
    pass that trains nothing, and random centroids, tried instead, drew all embeddings together for epochs to come.
    An epoch's end takes clusterings * (iterations + 1) * prototypes * dim multiplications a sample, 13 million with the
    defaults; the memory, 2 * dim numbers a sample, is part of every checkpoint.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        samples: How many there are to learn from.
        hidden: Width of the projection head's hidden layer; 2048 (authors' code; appendix A.1 names none).
        dim: Width of the projection; 128 (appendix A.1).
        prototypes: K, the clusters of a clustering; 3000 (appendix D.2, "implementation details").
        clusterings: How many, each with a loss of its own; 3 (ditto).
        iterations: Of k-means; 10 (authors' code).
        temperature: tau, divides the similarities with the centroids; 0.1 (appendix A.1).
    """

    views = Views(large=2, small=6)

    def __init__(
        self, encoder: nn.Module, *, samples: int, hidden: int = 2048, dim: int = 128, prototypes: int = 3000,
        clusterings: int = 3, iterations: int = 10, temperature: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        if prototypes > samples:
            raise InputError(f"{prototypes} prototypes for {samples} samples: choose --prototypes {samples} or fewer.")
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, dim)
        self.samples, self.iterations, self.temperature = samples, iterations, temperature
        self.memory = nn.Buffer(torch.zeros(self.views.large, samples, dim))  # this epoch's embeddings, as they came
        self.order = nn.Buffer(torch.zeros(samples, dtype=torch.int64))  # the samples that the memory's rows are of
        self.centroids = nn.Buffer(torch.zeros(clusterings, prototypes, dim))
        self.assignment = nn.Buffer(torch.full((clusterings, samples), -1))
        self.step = nn.Buffer(torch.tensor(0))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        h = torch.cat([self.encoder(views) for views in batch.by_size()])  # (VN, D): a forward for each size
        z = unit(self.project(h)).unflatten(0, (len(batch.views), -1))  # (V, N, dim)
        return z.transpose(0, 1), batch.index

    def compare(self, z: Tensor, index: Tensor) -> Tensor:
        z = z.to(self.centroids)
        if self.step < self.samples // len(index):  # the first epoch: as many clusters as samples
            c = z[:, : self.views.large].detach().transpose(0, 1)  # (2, N, dim)
            q = torch.arange(len(z), device=z.device).expand(len(c), -1)
        else:
            c, q = self.centroids, self.assignment[:, index]  # (clusterings, K, dim), (clusterings, N)
        scores = z.flatten(0, 1) @ c.mT / self.temperature  # (clusterings, NV, K)
        q = q.repeat_interleave(z.shape[1], dim=1)  # all views of a sample belong to its cluster
        return F.cross_entropy(scores.flatten(0, 1), q.flatten(), ignore_index=-1)  # eq. 8

    def update(self, progress: float, z: Tensor, index: Tensor) -> None:
        epoch, step = divmod(int(self.step), self.samples // len(index))
        begin, end = step * len(index), (step + 1) * len(index)
        self.memory[:, begin:end] = z[:, : self.views.large].transpose(0, 1)
        self.order[begin:end] = index
        self.step.add_(1)
        if end + len(index) > self.samples:  # the epoch is over: what is left of it makes no batch
            self.assignment.fill_(-1)
            for i, c in enumerate(self.centroids):
                rows = self.memory[i % self.views.large, :end]
                start = random.permutation(end, epoch, i)[: len(c)]  # of fewer rows than K, each its own cluster
                c[:end], self.assignment[i, self.order[:end]] = k_means(rows, rows[start], iterations=self.iterations)
