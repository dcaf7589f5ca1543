"""DINO: a student predicts from any view what a slow, centred and sharpened copy of it says of the large ones."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.heads.mlp import gelu_mlp
from twinlens.losses.distillation import across_views, centred, scores
from twinlens.losses.inputs import unit
from twinlens.method import Method
from twinlens.update.schedules import cosine, frozen, warmed
from twinlens.update.slow import follow, slow_copy


class DINO(Method):
    """Caron et al. 2021, "Emerging properties in self-supervised vision transformers".

    arXiv 2104.14294, section 3 and algorithm 1. The paper's epochs are here shares of a run of 300. `encode` ends
    before the last layer, so that d numbers a view are gathered and kept, not K. Eight small views are the authors'
    code's default; the paper takes 6 or 10 (table 8, appendix E).

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D; it is trained in place, the slow copy is ours.
        hidden: Width of the projection head's two hidden layers; 2048 (section 3.1, "network architecture").
        bottleneck: d, the width before the last layer; 256 (appendix C, "output dimension").
        outputs: K, the width of the last layer; 65536 (appendix C, "output dimension").
        temperature: Divides the student's outputs; 0.1 (section 3.2).
        teacher_temperature: Divides the teacher's outputs, at the start and after a warm-up; 0.04, 0.07 (section 3.2).
        temperature_warmup: Share of the run over which it rises; 0.1, 30 epochs (section 3.2).
        center_momentum: m, of the centre of the teacher's outputs; 0.9 (authors' code; appendix D varies it).
        momentum: The slow copy's at the start, which rises to 1 along a cosine; 0.996 (section 3.1, "teacher network").
        freeze: Share of the run in which the last layer stands still; 0.003, an epoch (authors' code).
    """

    views = Views(large=2, small=8, strength="asymmetric")

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        bottleneck: int = 256,
        outputs: int = 65536,
        temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        temperature_warmup: float = 0.1,
        center_momentum: float = 0.9,
        momentum: float = 0.996,
        freeze: float = 0.003,
    ) -> None:
        super().__init__()
        self.student = nn.Sequential(encoder, *gelu_mlp(dim_of(encoder), hidden, hidden, bottleneck))
        self.prototypes = nn.Linear(bottleneck, outputs, bias=False)  # its rows count by their direction alone
        self.teacher, self.prototypes_t = slow_copy(self.student), slow_copy(self.prototypes)
        self.temperature, self.center_momentum, self.momentum = temperature, center_momentum, momentum
        self.freeze, self.warmup = freeze, (*teacher_temperature, temperature_warmup)
        self.center: Tensor
        self.progress: Tensor
        self.register_buffer("center", torch.zeros(outputs))
        self.register_buffer("progress", torch.zeros(()))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        s = unit(torch.cat([self.student(views) for views in batch.by_size()]))  # (VN, d): a forward for each size
        with torch.no_grad():
            t = unit(self.teacher(torch.cat(batch.views[: self.views.large])))  # (2N, d)
        return tuple(x.unflatten(0, (-1, len(batch.index))).transpose(0, 1) for x in (s, t))

    def compare(self, s: Tensor, t: Tensor) -> Tensor:
        p_t = centred(t, unit(self.prototypes_t.weight), self.center, warmed(self.progress, *self.warmup))  # (N, 2, K)
        w = unit(frozen(self.prototypes.weight, self.progress, until=self.freeze))  # (K, d)
        return across_views(p_t, s, w, temperature=self.temperature)

    def update(self, progress: float, s: Tensor, t: Tensor) -> None:
        mean = scores(t.mean(dim=(0, 1)), unit(self.prototypes_t.weight))  # (K,): the last layer is linear
        self.center.lerp_(mean, 1 - self.center_momentum)  # eq. 4
        for slow, fast in ((self.teacher, self.student), (self.prototypes_t, self.prototypes)):
            follow(slow, fast, momentum=cosine(progress, self.momentum, 1.0))
        self.progress.fill_(progress)
