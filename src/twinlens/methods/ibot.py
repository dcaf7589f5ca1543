"""iBOT: DINO between views; and of each token hidden from it, a student says what a slow copy says that sees it."""

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.heads.mlp import gelu_mlp
from twinlens.losses import geometry
from twinlens.losses.distillation import across_views, at_hidden, centred, scores
from twinlens.losses.inputs import unit
from twinlens.method import Method
from twinlens.update.schedules import cosine, frozen, warmed
from twinlens.update.slow import follow, slow_copy
from twinlens.views.masks import some_blocks


class Network(nn.Module):
    """An encoder, the head that views and their tokens share, and the last layer."""

    def __init__(self, encoder: TokenEncoder, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, gelu_mlp(encoder.width, hidden, hidden, bottleneck)
        self.narrow = nn.Identity() if encoder.dim == encoder.width else nn.Linear(encoder.dim, encoder.width)
        self.prototypes = nn.Linear(bottleneck, outputs, bias=False)  # its rows count by their direction alone


class IBOT(Method):
    """Zhou et al. 2022, "iBOT: Image BERT pre-training with online tokenizer".

    arXiv 2111.07832, section 3. The paper's epochs are here shares of a run of 800; ten small views are those of the
    authors' published command for ViT-S. What the encoder pools its tokens to stands for the class token; if it is not
    as wide as they are, a linear map makes it so. Hidden tokens couple no samples: `encode` gives each view's loss.

    Args:
        encoder: One that gives tokens, a ViT; it is trained in place, the slow copy is ours.
        hidden: Width of the head's two hidden layers; 2048 (authors' code; DINO's).
        bottleneck: d, the width before the last layer; 256 (authors' code; DINO's).
        outputs: K, the width of the last layer; 8192 (section 3.3, "architecture").
        masked: Least and largest share of tokens hidden, in half of the large views; 0.1, 0.5 (section 3.3).
        teacher_temperature: Divides the teacher's outputs, at the start and after a warm-up; 0.04, 0.07 (the command).
        temperature_warmup: Share of the run over which it rises; 0.0375, 30 epochs (the command).
        momentum: The slow copy's at the start, which rises to 1 along a cosine; 0.996 (authors' code).
        freeze: Share of the run in which the last layer stands still; 0.00125, an epoch (authors' code).
        koleo: Weight of DINOv2's regulariser (arXiv 2304.07193) of each large view, over the batch; 0, there 0.1.
    """

    views = Views(large=2, small=10, strength="asymmetric")
    temperature, center_momentum = 0.1, 0.9  # the student's; of both centres (authors' code; DINO's)

    def __init__(
        self, encoder: TokenEncoder, *, hidden: int = 2048, bottleneck: int = 256, outputs: int = 8192,
        masked: tuple[float, float] = (0.1, 0.5), teacher_temperature: tuple[float, float] = (0.04, 0.07),
        temperature_warmup: float = 0.0375, momentum: float = 0.996, freeze: float = 0.00125, koleo: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.student = Network(encoder, hidden, bottleneck, outputs)
        self.teacher = slow_copy(self.student)
        self.mask_token = nn.Parameter(torch.randn(encoder.width) * 0.02)
        self.masked, self.warmup = masked, (*teacher_temperature, temperature_warmup)
        self.momentum, self.freeze, self.koleo = momentum, freeze, koleo
        self.center: Tensor
        self.progress: Tensor
        self.register_buffer("center", torch.zeros(2, outputs))  # of views, of tokens
        self.register_buffer("progress", torch.zeros(()))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        encoder, encoder_t = self.student.encoder, self.teacher.encoder
        large, small = torch.cat(batch.views[:2]), batch._replace(views=batch.views[2:]).by_size()  # small: none or one
        mask = some_blocks(torch.cat([random.fold(batch.key, v) for v in (0, 1)]), encoder.grid, self.masked)  # (2N, T)
        tokens = encoder.tokens(large, mask=mask, mask_token=self.mask_token)  # (2N, T, D')
        h = encoder.pooled(tokens, large)  # (2N, D)
        s = unit(self.student.head(self.student.narrow(torch.cat((h, *map(encoder, small))))))  # (VN, d)
        with torch.no_grad():
            tokens_t = encoder_t.tokens(large)
            t = unit(self.teacher.head(self.teacher.narrow(encoder_t.pooled(tokens_t, large))))  # (2N, d)
            u_t = unit(self.teacher.head(tokens_t))  # (2N, T, d)
        u_s = unit(self.student.head(tokens[mask]))  # (M, d), of M hidden tokens
        mim = at_hidden(self.targets(u_t[mask], 1), u_s, self.directions(), mask, temperature=self.temperature)  # (2N,)
        parts = s, t, mim, u_t.mean(dim=1), *([h] if self.koleo else [])
        return tuple(part.unflatten(0, (-1, len(batch.index))).transpose(0, 1) for part in parts)

    def compare(self, s: Tensor, t: Tensor, mim: Tensor, u_t: Tensor, h: Tensor | None = None) -> Tensor:
        loss = across_views(self.targets(t, 0), s, self.directions(), temperature=self.temperature) + mim.mean()
        return loss if h is None else loss + self.koleo * sum(geometry.koleo(view) for view in h.unbind(1))

    def update(self, progress: float, s: Tensor, t: Tensor, mim: Tensor, u_t: Tensor, h: Tensor | None = None) -> None:
        means = torch.stack((t.mean(dim=(0, 1)), u_t.mean(dim=(0, 1))))  # (2, d)
        self.center.lerp_(scores(means, unit(self.teacher.prototypes.weight)), 1 - self.center_momentum)
        follow(self.teacher, self.student, momentum=cosine(progress, self.momentum, 1.0))
        self.progress.fill_(progress)

    def directions(self) -> Tensor:
        """The student's (K, d), which stand still at first."""
        return unit(frozen(self.student.prototypes.weight, self.progress, until=self.freeze))

    def targets(self, t: Tensor, which: int) -> Tensor:
        """What the teacher says (..., K) of its `t` (..., d), of views (0) or of tokens (1)."""
        return centred(t, unit(self.teacher.prototypes.weight), self.center[which], warmed(self.progress, *self.warmup))
