"""NNCLR: each view's nearest neighbour among earlier samples has to find the other view."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses import clip
from twinlens.method import Method
from twinlens.nearest import top_k
from twinlens.update.queue import Queue


def neighbour(z: Tensor, ids: Tensor, queue: Queue) -> Tensor:
    """The queue's row nearest to each row of `z` (N, D), of another sample than its own, `ids` (N,): (N, D).

    With data smaller than the queue the nearest would else be the sample itself, an epoch ago; the paper's is larger.
    """
    own = queue.ids[torch.isin(queue.ids, ids)]
    copies = max(own.unique(return_counts=True)[1].tolist(), default=0)  # at most, of one sample
    _, place = top_k(z, queue.rows, copies + 1)  # (N, copies + 1), nearest first; rows have length 1, so z need not
    other = queue.ids[place] != ids[:, None]
    first = other.int().argmax(1, keepdim=True)  # (N, 1); where there is no other, the nearest after all
    return queue.rows[place.gather(1, first).squeeze(1)]


class NNCLR(Method):
    """Dwibedi, Aytar, Tompson, Sermanet, Zisserman 2021, "With a little help from my friends: nearest-neighbor [...]".

    arXiv 2104.14548, section 3.2.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projector's two hidden layers; 2048 (section 3, "implementation details").
        dim: Width of projection and prediction; 256 (ditto).
        predictor: Width of the predictor's hidden layer; 4096 (ditto).
        queue: Projections of earlier batches among which neighbours are looked for; 98304 (section 4).
        temperature: Divides the cosine similarities; 0.1 (section 3).
    """

    views = Views(large=2)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 256,
        predictor: int = 4096,
        queue: int = 98304,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, hidden, dim, norm_output=True)
        self.predict = mlp(dim, predictor, dim)
        self.queue = Queue(queue, dim)  # Q, the support set
        self.temperature = temperature

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z1, z2 = (self.project(self.encoder(view)) for view in batch.views)  # (N, dim)
        p1, p2 = self.predict(z1), self.predict(z2)
        return z1.detach(), z2.detach(), p1, p2, batch.index

    def compare(self, z1: Tensor, z2: Tensor, p1: Tensor, p2: Tensor, index: Tensor) -> Tensor:
        nn1, nn2 = (neighbour(z, index, self.queue) for z in (z1, z2))  # (N, dim)
        tau = self.temperature
        return clip(nn1, p2, temperature=tau) / 2 + clip(nn2, p1, temperature=tau) / 2  # eq. 3, along both axes

    def update(self, progress: float, z1: Tensor, z2: Tensor, p1: Tensor, p2: Tensor, index: Tensor) -> None:
        self.queue.push(z1, index)
