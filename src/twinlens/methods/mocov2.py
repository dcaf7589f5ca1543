"""MoCo v2: each view finds what a slow copy says of the other among a queue of earlier samples."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.losses import info_nce
from twinlens.method import Method
from twinlens.update.queue import Queue
from twinlens.update.slow import follow, slow_copy


class MoCoV2(Method):
    """Chen, Fan, Girshick, He 2020, "Improved baselines with momentum contrastive learning".

    arXiv 2003.04297, over He et al. 2020, "Momentum contrast for unsupervised visual representation learning", arXiv
    1911.05722, algorithm 1. Its shuffled batch norm is left out, since here a norm sees the whole batch wherever it is
    computed; an encoder with batch norm may tell a key from the queue by its batch's statistics (section 3.3).

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D; it is trained in place, the slow copy is ours.
        hidden: Width of the head's hidden layer; 2048 (2003.04297, section 3).
        dim: Width of query and key; 128 (1911.05722, section 3.3).
        queue: Keys of earlier batches that serve as negatives; 65536 (1911.05722, section 4.1).
        momentum: The slow copy's; 0.999 (1911.05722, section 4.1).
        temperature: Divides the cosine similarities; 0.2 (2003.04297, section 3).
    """

    views = Views(large=2)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 128,
        queue: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        head = nn.Linear(dim_of(encoder), hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim)  # without norms
        self.query = nn.Sequential(encoder, *head)
        self.key = slow_copy(self.query)
        self.queue = Queue(queue, dim)
        self.momentum, self.temperature = momentum, temperature

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        first, second = batch.views
        q = self.query(first)  # (N, dim)
        with torch.no_grad():
            k = self.key(second)  # (N, dim)
        return q, k, batch.index

    def compare(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        # Of data smaller than the queue, it still holds the batch's own samples from an epoch ago: no negatives.
        return info_nce(q, k, self.queue.rows, temperature=self.temperature, ids=index, negative_ids=self.queue.ids)

    def update(self, progress: float, q: Tensor, k: Tensor, index: Tensor) -> None:
        follow(self.key, self.query, momentum=self.momentum)
        self.queue.push(k, index)
