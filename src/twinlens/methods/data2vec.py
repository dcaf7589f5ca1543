"""data2vec: from what is left of a sample, predict what a slow copy that sees all of it thinks of the rest."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import Transformer
from twinlens.errors import InputError
from twinlens.heads.content import mean, there
from twinlens.method import Method
from twinlens.update.schedules import warmed
from twinlens.update.slow import follow, slow_copy
from twinlens.views.masks import Kind, hide


class Data2Vec(Method):
    """Baevski et al. 2022, "data2vec: a general framework for self-supervised learning in speech, vision and language".

    arXiv 2202.03555, section 3; the settings are those for pictures. Each block's output is normalised token by token
    by a layer norm without parameters, as for pictures and words; sound has there an instance norm. The authors'
    published command for pictures normalises the mean over blocks once more, which the paper's formula does not.

    Args:
        encoder: One that gives tokens, a ViT; it is trained in place, the slow copy is ours.
        masked: Share of the tokens hidden from the student; 0.6 (section 3.2; the command: 120 of 196).
        kind: Which tokens are hidden: random, block, inverse block, tube or span; block, BEiT's (section 3.2).
        top: K, the last blocks whose mean is the target, or all where there are fewer; 6 (the command).
        beta: Errors below it count by their square, those above by their size; 2 (the command).
        momentum: The slow copy's at the start and after a warm-up; 0.9998 throughout (the command; 0.999 to 0.9999 for
            sound and words: authors' code). That suits a run of 500,000 steps; short ones ask for less.
        momentum_warmup: Share of the run over which it rises along a line; 0, as it does not (the command).
        head_depth: Transformer blocks before the regression; 0 (the paper has none). In an encoder of few blocks the
            last one, which answers for hidden tokens alone, spoils the seen ones.
        head_heads: Attention heads of those blocks, which are as wide as the encoder; 1.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: TokenEncoder, *, masked: float = 0.6, kind: Kind = "block", top: int = 6, beta: float = 2.0,
        momentum: tuple[float, float] = (0.9998, 0.9998), momentum_warmup: float = 0.0,
        head_depth: int = 0, head_heads: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        if top < 1 or beta < 0:
            raise InputError(f"top is {top} and beta {beta}: expected one block or more, and an error of 0 or more.")
        self.student, self.masked, self.kind = encoder, masked, kind
        self.teacher = slow_copy(encoder)  # type: ignore[type-var]
        self.mask_token = nn.Parameter(torch.randn(encoder.width) * 0.02)
        self.head = Transformer(encoder.width, head_depth, head_heads) if head_depth else nn.Identity()
        self.predict = nn.Linear(encoder.width, encoder.width)
        self.top, self.beta, self.momentum = top, beta, (*momentum, momentum_warmup)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        view = batch.views[0]
        mask = hide(self.kind, batch.key, self.student.grid, self.masked)  # (N, T)
        tokens = self.head(self.student.tokens(view, mask=mask, mask_token=self.mask_token))  # (N, T, D)
        f = self.predict(tokens[mask])  # (N * M, D)
        with torch.no_grad():
            y = self.targets(view)[mask]  # (N * M, D)
        loss = F.smooth_l1_loss(f, y, beta=self.beta, reduction="none").mean(1)  # (N * M,)
        real = there(self.student, self.student.patchify(view))[mask]
        return (mean(*(x.unflatten(0, (len(view), -1)) for x in (loss, real))),)  # as many hidden tokens of each sample

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def update(self, progress: float, *parts: Tensor) -> None:
        momentum = warmed(torch.tensor(progress, dtype=torch.float64), *self.momentum)
        follow(self.teacher, self.student, momentum=momentum.item())  # type: ignore[arg-type]

    def targets(self, view: Tensor) -> Tensor:
        """The mean of the teacher's last blocks, each normalised: (N, T, D)."""
        layers = self.teacher.layers(view)[-self.top :]  # (K, N, T, D)
        return F.layer_norm(layers, layers.shape[-1:]).mean(0)
