"""Losses on distances: pairs with a margin, and triplets, all or mined."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import relu

from twinlens.errors import InputError
from twinlens.losses import inputs
from twinlens.losses.tiled import summed

Distance = Literal["euclidean", "cosine"]
Mining = Literal["all", "active", "semi-hard", "hard"]
SMALLEST = 1e-12  # a squared distance under it is 0, and has no gradient: it has no direction


def margin(z1: Tensor, z2: Tensor, same: Tensor, *, margin: float, distance: Distance = "euclidean") -> Tensor:
    """Contrastive loss of pairs, alike or not.

    Hadsell, Chopra, LeCun 2006, "Dimensionality reduction by learning an invariant mapping", equation 4: half the
    squared distance where `same` (N,) bool holds, else half the square of what it falls short of `margin`. `z1`, `z2`
    (N, D); "euclidean" takes them as they are, "cosine" is 1 - cos. The mean over pairs. (pytorch-metric-learning
    neither squares nor halves, normalises rows, and averages the pairs that are not 0, both kinds apart.)
    """
    z1, z2 = inputs.embeddings(1, z1=z1, z2=z2)
    if same.shape != z1.shape[:1]:
        raise InputError(f"same has shape {tuple(same.shape)}: expected a truth value for each of {len(z1)} pairs.")
    inputs.positive("margin", margin)
    if _known(distance) == "cosine":
        d = 1 - (inputs.unit(z1) * inputs.unit(z2)).sum(1)
    else:
        d = _root((z1 - z2).square().sum(1))
    return torch.where(same.to(z1.device).bool(), d, relu(margin - d)).square().mean() / 2


def triplet(
    z: Tensor, labels: Tensor, *, margin: float, mining: Mining = "hard", distance: Distance = "euclidean"
) -> Tensor:
    """Triplet loss: an anchor stays nearer to its positive than to a negative, by a margin.

    relu(d(anchor, positive) - d(anchor, negative) + `margin`) over triplets from `z` (N, D) with `labels` (N,):

    - "all": the mean over every triplet; "active": over those that are not 0 yet (Hermans et al. 2017, arXiv
      1703.07737, eq. 6, and its L_BA != 0);
    - "semi-hard": for each anchor and positive, the nearest of the negatives that are farther than the positive, or
      the farthest negative where none is (Schroff et al. 2015, arXiv 1503.03832, section 3.2, who leave the second case
      open);
    - "hard": for each anchor, its farthest positive and nearest negative (Hermans et al., eq. 5).

    "euclidean" is the distance of the rows as they are, "cosine" is 1 - cos; Schroff et al. take squared distances
    instead, pytorch-metric-learning normalises rows and by default averages as "active" does. Time is O(N^2 (D + log
    N)), never N^3, and memory that of a block of rows. 0 where there is no triplet.
    """
    (z,) = inputs.embeddings(z=z)
    labels = inputs.ids("labels", labels, z)
    inputs.positive("margin", margin)
    if mining not in (kinds := {"all": _all, "active": _all, "semi-hard": _semi_hard, "hard": _hard}):
        raise InputError(f"mining is {mining!r}: expected one of {', '.join(kinds)}.")
    if _known(distance) == "cosine":
        z = inputs.unit(z)

    def block(run: slice, z: Tensor) -> Tensor:
        d = 1 - z[run] @ z.T if distance == "cosine" else _distances(z[run], z)
        same = labels[run, None] == labels
        self_ = torch.arange(len(z), device=z.device)[run, None] == torch.arange(len(z), device=z.device)
        return kinds[mining](d, same & ~self_, ~same, margin)

    loss, active, every = summed(block, len(z), z)
    mean: Tensor = loss / (active if mining == "active" else every).detach().clamp_min(1)
    return mean


def _known(distance: str) -> str:
    if distance not in ("euclidean", "cosine"):
        raise InputError(f"distance is {distance!r}: expected 'euclidean' or 'cosine'.")
    return distance


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return _root(a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T)


def _root(squares: Tensor) -> Tensor:
    return squares.clamp_min(SMALLEST).sqrt().where(squares > SMALLEST, 0)


def _totals(losses: Tensor, chosen: Tensor) -> Tensor:
    losses = relu(losses).where(chosen, 0)
    return torch.stack((losses.sum(), (losses > 0).sum(), chosen.sum()))


def _hard(d: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    far = d.masked_fill(~positive, -torch.inf).amax(1)
    near = d.masked_fill(~negative, torch.inf).amin(1)
    return _totals(torch.nan_to_num(far - near + margin), positive.any(1) & negative.any(1))


def _semi_hard(d: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    ranked = d.masked_fill(~negative, torch.inf).sort(1).values
    last = negative.sum(1, keepdim=True) - 1
    next_ = torch.searchsorted(ranked.detach(), d.detach(), right=True).minimum(last.clamp_min(0))
    chosen = positive & (last >= 0)
    return _totals(d - ranked.gather(1, next_).where(chosen, 0) + margin, chosen)


def _all(d: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Each positive's loss over all of its negatives at once, from the running sum of the ranked distances.

    With k negatives nearer than r = d + margin, the sum of relu(r - d_n) is k r minus the sum of those k.
    """
    ranked = d.masked_fill(~negative, torch.inf).sort(1).values
    sums = torch.nn.functional.pad(ranked.where(ranked.isfinite(), 0).double().cumsum(1), (1, 0))
    reach = d + margin
    nearer = torch.searchsorted(ranked.detach(), reach.detach())
    losses = (nearer * reach.double() - sums.gather(1, nearer)).where(positive, 0)
    return torch.stack((losses.sum(), nearer.where(positive, 0).sum(), (positive.sum(1) * negative.sum(1)).sum())).to(
        d.dtype
    )
