"""CPC: from what came before, tell what comes a few steps later from what comes elsewhere."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import CausalEncoder
from twinlens.errors import InputError
from twinlens.heads.content import at, there
from twinlens.heads.mlp import gelu_mlp
from twinlens.losses.inputs import embeddings
from twinlens.losses.tiled import Pairs, log_sum_exp
from twinlens.method import Method


class CPC(Method):
    """Van den Oord, Li, Vinyals 2018, "Representation learning with contrastive predictive coding".

    arXiv 1807.03748, section 2; of patches also Henaff et al. 2019, "Data-efficient image recognition with contrastive
    predictive coding", arXiv 1905.09272. A step is a token of a sequence, a row of a picture in the same column
    (section 3.2), a frame of a clip at the same place. The negatives of a prediction are what all others of its step
    have to find, at other places of the sample and in other samples; `places` bounds their number. g_ar is the encoder,
    which embeds what lies under its tokens by itself: z, the output of a g_enc of ours, is only what is predicted.

    Args:
        encoder: One that gives tokens and is causal; c_t is what it says of token t.
        steps: K, how many steps ahead it predicts, fewer where the grid has no more; 5 (section 3.2; 12 for speech,
            section 3.1).
        places: Tokens of a sample, drawn for each step, from which is predicted: at most so many; 16, a guess.
        hidden: Width of the hidden layer of g_enc; 512 (section 3.1, of its convolutions).
        dim: Width of z; 512 (section 3.1).
    """

    views = Views(large=1, strength="weak")

    def __init__(
        self, encoder: CausalEncoder, *, steps: int = 5, places: int = 16, hidden: int = 512, dim: int = 512
    ) -> None:
        super().__init__()
        grid = tuple(encoder.grid)
        if min(steps, places) < 1 or grid[0] < 2:
            raise InputError(
                f"{steps} steps from {places} places of a grid {grid}: expected 1 or more of each, and 2 or more along "
                f"the first side of the grid; smaller patches give more."
            )
        self.encoder, self.stride = encoder, prod(grid[1:])
        self.starts = [prod(grid) - k * self.stride for k in range(1, min(steps, grid[0] - 1) + 1)]
        self.places = places
        into = nn.Embedding(encoder.vocabulary, hidden) if encoder.vocabulary else nn.Identity()
        self.g_enc = nn.Sequential(into, gelu_mlp(hidden if encoder.vocabulary else encoder.patch_dim, hidden, dim))
        self.W = nn.ModuleList(nn.Linear(encoder.width, dim, bias=False) for _ in self.starts)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        x = self.encoder.patchify(batch.views[0])  # (N, T, P)
        real = there(self.encoder, x)  # (N, T)
        z = self.g_enc(x[..., 0].clamp(min=0) if self.encoder.vocabulary else x)  # (N, T, dim)
        c = self.encoder.tokens(batch.views[0])  # (N, T, D')
        parts, told = [], []
        for k, (W, starts) in enumerate(zip(self.W, self.starts), 1):
            t = random.choose(random.fold(batch.key, k), starts, starts)
            there_is = real.gather(1, t + k * self.stride)  # those of which there is something to tell come first
            t = t.gather(1, (~there_is).int().argsort(dim=1, stable=True))[:, : self.places]  # (N, Q)
            parts += [W(at(c, t)), at(z, t + k * self.stride)]  # (N, Q, dim) each
            told.append(real.gather(1, t + k * self.stride).long())  # (N, Q)
        return (*parts, *told) if self.encoder.vocabulary else tuple(parts)

    def compare(self, *parts: Tensor) -> Tensor:
        steps, losses = len(self.starts), []
        told = parts[2 * steps :] or (None,) * steps
        for predicted, z, real in zip(parts[: 2 * steps : 2], parts[1 : 2 * steps : 2], told):
            rows = ... if real is None else real.flatten() > 0
            predicted, z = predicted.flatten(0, 1)[rows], z.flatten(0, 1)[rows]
            losses.append(info_nce(predicted, z) if len(z) else predicted.sum())  # 0 where texts have no such step
        return torch.stack(losses).mean()


def info_nce(predicted: Tensor, z: Tensor) -> Tensor:
    """Each row of `predicted` (M, dim) finds its own of `z` (M, dim): equations 3 and 4, without the M x M matrix.

    Unlike `losses.info_nce` it compares inner products, not cosines, as the paper's log-bilinear model does.
    """
    predicted, z = embeddings(1, predicted=predicted, z=z)
    negatives, _ = log_sum_exp(predicted, z, Pairs(period=len(z)))  # all but a row's own
    return softplus(negatives - (predicted * z).sum(1)).mean()
