"""Self-distillation: over K prototypes a student says what its teacher, centred and sharpened, says of another view.

Caron et al. 2021, "DINO", arXiv 2104.14294, section 3.1. Vectors of d numbers and prototypes have length 1.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def scores(x: Tensor, w: Tensor) -> Tensor:
    """Inner products (..., K) of `x` (..., d) and prototypes `w` (K, d), in the precision of `w` under autocast too."""
    with torch.autocast(w.device.type, enabled=False):
        return x.to(w) @ w.T


@torch.no_grad()
def centred(t: Tensor, w: Tensor, center: Tensor, temperature: Tensor) -> Tensor:
    """P_t (..., K), what a teacher says of `t` (..., d): less `center` (K,), and sharper the lower its temperature."""
    return ((scores(t, w) - center) / temperature).softmax(dim=-1)


def cross_entropy(p_t: Tensor, s: Tensor, w: Tensor, *, temperature: float) -> Tensor:
    """H(P_t, P_s) (N,) of targets (N, K) and a student's `s` (N, d).

    What it says, (N, K), is made anew in the backward pass: only the targets are kept.
    """

    def entropies(s: Tensor, w: Tensor) -> Tensor:
        return F.cross_entropy(scores(s, w) / temperature, p_t, reduction="none")

    out: Tensor = checkpoint(entropies, s, w, use_reentrant=False)
    return out


def across_views(p_t: Tensor, s: Tensor, w: Tensor, *, temperature: float) -> Tensor:
    """Equation 3: the mean of H(P_t(x), P_s(x')) over large views x, all views x' but x, and samples.

    `p_t` (N, large, K) are the targets, `s` (N, V, d) is the student's, whose first views are the large ones. The paper
    writes the sum over views; its algorithm 1 divides by the number of terms.
    """
    large, views = p_t.shape[1], s.shape[1]
    every = p_t.sum(dim=1)  # (N, K)
    targets = [every - p_t[:, v] for v in range(large)] + [every] * (views - large)
    terms = [cross_entropy(target, s[:, v], w, temperature=temperature) for v, target in enumerate(targets)]
    return torch.stack(terms).sum(dim=0).mean() / (large * (views - 1))


def at_hidden(p_t: Tensor, s: Tensor, w: Tensor, mask: Tensor, *, temperature: float) -> Tensor:
    """The mean of H(P_t, P_s) over each sample's hidden tokens, 0 where none is hidden: (N,).

    `mask` (N, T) says which are, M in all; `p_t` (M, K) and `s` (M, d) hold them alone, one sample after another.
    """
    each = cross_entropy(p_t, s, w, temperature=temperature)  # (M,)
    return each.new_zeros(mask.shape).masked_scatter(mask, each).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
