"""I-JEPA: from what is seen of a sample, predict what a slow copy of the encoder says of several blocks of the rest."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import Transformer, sincos
from twinlens.errors import InputError
from twinlens.heads.content import at
from twinlens.method import Method
from twinlens.update.slow import follow, slow_copy
from twinlens.views.masks import rectangle, visible

ASPECT, SQUARE = (0.75, 1.5), (1.0, 1.0)  # of targets, of the context: least and largest height / width (appendix A.1)
LEAST = 10 / 256  # share of the tokens that stays context (authors' configuration of ViT-H/14)


class IJEPA(Method):
    """Assran et al. 2023, "Self-supervised learning from images with a joint-embedding predictive architecture".

    arXiv 2301.08243, section 3 and appendix A.1; the normalisation of targets and the smooth L1 distance are of the
    authors' code (section 3: squared). Blocks are runs in a sequence, the same in each frame of a clip. Where authors
    draw again, too little being left of the context, it is all that no target holds, or a target is the first again.

    Args:
        encoder: One that gives tokens, a ViT; it is trained in place, the slow copy is ours.
        blocks: M, the targets of a sample, which may overlap; 4 (appendix A.1).
        target_scale: Least and largest share of the tokens in a target; 0.15, 0.2 (appendix A.1).
        context_scale: Least and largest share in the context, before targets are taken out; 0.85, 1 (appendix A.1).
        predictor_width: Width of the predictor; 384 (appendix A.1).
        predictor_depth: Blocks of the predictor; 6, for ViT-B, the paper's smallest; 12 for L and H (appendix A.1).
        predictor_heads: Attention heads of the predictor; 16, as many as ViT-L and H have themselves (appendix A.1).
        momentum: The slow copy's momentum at the start, which rises to 1 along a line; 0.996 (appendix A.1).
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: TokenEncoder, *, blocks: int = 4, target_scale: tuple[float, float] = (0.15, 0.2),
        context_scale: tuple[float, float] = (0.85, 1.0), predictor_width: int = 384, predictor_depth: int = 6,
        predictor_heads: int = 16, momentum: float = 0.996,
    ) -> None:  # fmt: skip
        super().__init__()
        (least, most), (low, high), grid = target_scale, context_scale, tuple(encoder.grid)
        self.plane = (grid[-2], grid[-1]) if len(grid) > 1 else (grid[0], 1)
        if blocks < 1 or not (0 < least <= most <= 0.5 and 0 < low <= high <= 1) or max(self.plane) < 2:
            raise InputError(
                f"{blocks} targets of {target_scale}, a context of {context_scale} of a grid {grid}: expected 1 or "
                f"more, shares up to 0.5 of targets and up to 1 of the context, least first, and 2 tokens or more."
            )
        self.encoder, self.blocks, self.momentum, self.scales = encoder, blocks, momentum, (context_scale, target_scale)
        self.target = slow_copy(encoder)  # type: ignore[type-var]
        self.embed = nn.Linear(encoder.width, predictor_width)
        self.mask_token = nn.Parameter(torch.randn(predictor_width) * 0.02)
        self.positions: Tensor
        self.register_buffer("positions", sincos(grid, predictor_width), persistent=False)  # (T, predictor_width)
        self.predictor = Transformer(predictor_width, predictor_depth, predictor_heads)
        self.project = nn.Linear(predictor_width, encoder.width)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        (view,), (context, targets) = batch.views, self.masks(batch.key)
        (keep, seen), (place, there) = visible(~context), visible(~targets.flatten(0, 1))  # (N, K), (NM, J)
        z = self.embed(self.encoder.tokens(view, keep, among=seen)) + self.positions[keep]  # (N, K, predictor_width)
        tokens = torch.cat((z.repeat_interleave(self.blocks, 0), self.mask_token + self.positions[place]), dim=1)
        attend = torch.cat((seen.repeat_interleave(self.blocks, 0), there), dim=1)[:, None, None]  # (NM, 1, 1, K + J)
        prediction = self.project(self.predictor(tokens, attend)[:, z.shape[1] :])  # (NM, J, D')
        with torch.no_grad():
            s = F.layer_norm(self.target.tokens(view), prediction.shape[2:]).repeat_interleave(self.blocks, dim=0)
            s = at(s, place)
        distance = F.smooth_l1_loss(prediction, s, reduction="none").mean(dim=2) * there  # (NM, J)
        return ((distance.sum(dim=1) / there.sum(dim=1)).unflatten(0, (-1, self.blocks)).mean(dim=1),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def update(self, progress: float, *parts: Tensor) -> None:
        momentum = self.momentum + (1 - self.momentum) * progress
        follow(self.target, self.encoder, momentum=momentum)  # type: ignore[arg-type]

    def masks(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """The context (N, T) and the targets (N, M, T), bool."""
        context = self.block(random.fold(key, 0), self.scales[0], SQUARE)
        first, *drawn = (self.block(random.fold(key, m + 1), self.scales[1], ASPECT) for m in range(self.blocks))
        least, targets, free = max(1, round(LEAST * context.shape[1])), [first], ~first
        for target in drawn:
            targets.append(target.where((free & ~target).sum(dim=1, keepdim=True) >= least, first))
            free = free & ~targets[-1]
        left = context & free
        return left.where(left.sum(dim=1, keepdim=True) >= least, free), torch.stack(targets, dim=1)

    def block(self, key: Tensor, scale: tuple[float, float], aspect: tuple[float, float]) -> Tensor:
        """One block for each sample, of one token or more: (N, T) bool."""
        draws, cells = random.uniform(key, 4), self.plane[0] * self.plane[1]
        area = (scale[0] + (scale[1] - scale[0]) * draws[:, 3]).mul(cells).clamp(min=1)
        block = rectangle(draws[:, :3], self.plane, area, aspect=aspect)
        return block.flatten(1).repeat(1, len(self.positions) // cells)
