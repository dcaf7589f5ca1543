"""The pairwise sigmoid loss: every pair of a batch is a question of its own, belongs together or not."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from twinlens.losses import inputs
from twinlens.losses.tiled import summed


def sigmoid(
    a: Tensor,
    b: Tensor,
    *,
    temperature: float | Tensor,
    bias: float | Tensor,
    ids: Tensor | None = None,
    bound: float | None = None,
) -> Tensor:
    """Sigmoid loss of SigLIP (Zhai et al. 2023, arXiv 2303.15343, eq. 1 and algorithm 1).

    Rows i of `a` and `b`, both (N, D), belong together, all other pairs do not: -log sigmoid(+-(cos / temperature +
    bias)), summed over pairs and divided by N. The paper starts at temperature 0.1 and bias -10, both learnt. Pairs of
    equal `ids` (N,) or of a cosine above `bound` are left out. Gradients are formed in the forward, block by block.
    """
    a, b = inputs.embeddings(a=a, b=b)
    temperature = inputs.temperature(temperature)
    identity = inputs.ids("ids", ids, a)
    a, b = inputs.unit(a) / temperature, inputs.unit(b)
    shift = torch.as_tensor(bias, dtype=a.dtype, device=a.device).reshape(())
    limit = torch.inf if bound is None else bound / inputs.number(temperature)

    def apart(run: slice, a: Tensor, b: Tensor, shift: Tensor) -> Tensor:
        s = a[run] @ b.T
        hidden = (identity[run, None] == identity) | (s.detach() > limit)
        return softplus(s + shift).masked_fill(hidden, 0).sum().reshape(1)

    together = softplus(-((a * b).sum(1) + shift)).sum()
    return (summed(apart, len(b), a, b, shift)[0] + together) / len(a)
