"""SwAV: predict the cluster of one view from another; the clusters are assigned evenly over the batch."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import mlp
from twinlens.losses.inputs import unit
from twinlens.method import Method
from twinlens.update.queue import Queue
from twinlens.update.schedules import frozen


def sinkhorn(scores: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Codes (N, K) of `scores` (N, K): each row sums to 1, each column, the more exactly the more iterations, to N / K.

    Equation 5 and appendix A.1. In logarithms, since exp(score / epsilon) overflows; factors common to all columns or
    to all rows are left out, as the step that follows removes them.
    """
    log_q = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)  # every prototype is used as much
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)  # every sample is assigned once
    return log_q.exp()


class SwAV(Method):
    """Caron et al. 2020, "Unsupervised learning of visual features by contrasting cluster assignments".

    arXiv 2006.09882, section 3 and appendix A. What the paper counts in epochs is here a share of the run, taken from
    its run of 200 epochs with batches of 256 (table 3).

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        hidden: Width of the projection head's hidden layer; 2048 (authors' code; appendix A.1 names none).
        dim: Width of the projection; 128 (appendix A.1).
        prototypes: K, the clusters; 3000 (appendix C.1).
        temperature: Divides the similarities with the prototypes; 0.1 (appendix A.1).
        epsilon: Smoothness of the codes; 0.05 (appendix A.1).
        iterations: Of Sinkhorn's algorithm; 3 (appendix C.4).
        queue: Earlier samples that are assigned together with the batch; 3840 (appendix A.6).
        queue_start: Share of the run after which they are; 0.075, 15 epochs (appendix A.6); 1 for never.
        freeze: Share of the run in which the prototypes stand still; 0.005, an epoch (appendix A.1).
    """

    views = Views(large=2, small=6)

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 128,
        prototypes: int = 3000,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        queue: int = 3840,
        queue_start: float = 0.075,
        freeze: float = 0.005,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = mlp(dim_of(encoder), hidden, dim)
        self.prototypes = nn.Parameter(unit(torch.randn(prototypes, dim)))
        self.queue_t, self.queue_s = Queue(queue, dim), Queue(queue, dim)
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.queue_start, self.freeze = queue_start, freeze
        self.progress: Tensor
        self.register_buffer("progress", torch.zeros(()))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        h = torch.cat([self.encoder(views) for views in batch.by_size()])  # (VN, D): a forward for each size
        z = unit(self.project(h)).unflatten(0, (len(batch.views), -1))  # (V, N, dim)
        return z.transpose(0, 1), batch.index

    def compare(self, z: Tensor, index: Tensor) -> Tensor:
        c = frozen(self.prototypes, self.progress, until=self.freeze)  # (K, dim)
        scores = z.to(c) @ c.T  # (N, V, K)
        log_p = (scores / self.temperature).log_softmax(dim=-1)
        losses = []
        for i, queue in enumerate((self.queue_t, self.queue_s)):
            with torch.no_grad():
                earlier = queue.rows[(queue.ids >= 0) & (self.progress >= self.queue_start)]  # none, or what was pushed
                every = torch.cat((earlier @ c.T, scores[:, i]))  # (queue + N, K)
                q = sinkhorn(every, epsilon=self.epsilon, iterations=self.iterations)[len(earlier) :]
            losses += [-(q * log_p[:, v]).sum(dim=1).mean() for v in range(z.shape[1]) if v != i]
        return torch.stack(losses).mean()  # eq. 6, divided by the number of its terms as the code of appendix A.1 does

    def update(self, progress: float, z: Tensor, index: Tensor) -> None:
        self.progress.fill_(progress)
        for i, queue in enumerate((self.queue_t, self.queue_s)):
            queue.push(z[:, i], index)
        with torch.no_grad():
            self.prototypes.copy_(unit(self.prototypes))
