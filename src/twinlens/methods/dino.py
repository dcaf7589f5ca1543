"""DINO: a student predicts from any view what a slow, centred and sharpened copy of it says of the large ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of
from twinlens.losses.inputs import unit
from twinlens.method import Method
from twinlens.update.schedules import cosine
from twinlens.update.slow import follow, slow_copy


def warmed(progress: Tensor, start: float, end: float, warmup: float) -> Tensor:
    """From `start` to `end` along a line over the share `warmup` of the run, then `end`."""
    done = (progress / warmup).clamp(max=1) if warmup else torch.ones_like(progress)
    return start + (end - start) * done


def cross_entropy(p_t: Tensor, s: Tensor, w: Tensor, tau: float) -> Tensor:
    """The mean over N of H(P_t, P_s), for targets (N, K), a student's `s` (N, d) and its last layer `w` (K, d)."""
    return F.cross_entropy(s @ w.T / tau, p_t)


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
        into, between = nn.Linear(dim_of(encoder), hidden), nn.Linear(hidden, hidden)
        self.student = nn.Sequential(encoder, into, nn.GELU(), between, nn.GELU(), nn.Linear(hidden, bottleneck))
        self.last = nn.Linear(bottleneck, outputs, bias=False)  # its rows count by their direction alone
        self.teacher, self.last_t = slow_copy(self.student), slow_copy(self.last)
        self.temperature, self.center_momentum, self.momentum = temperature, center_momentum, momentum
        self.freeze, self.warmup = freeze, (*teacher_temperature, temperature_warmup)
        self.center: Tensor
        self.progress: Tensor
        self.register_buffer("center", torch.zeros(outputs))
        self.register_buffer("progress", torch.zeros(()))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        large, small = batch.views[: self.views.large], batch.views[self.views.large :]
        s = unit(torch.cat([self.student(torch.cat(views)) for views in (large, small)]))  # (VN, d)
        with torch.no_grad():
            t = unit(self.teacher(torch.cat(large)))  # (2N, d)
        return tuple(x.unflatten(0, (-1, len(batch.index))).transpose(0, 1) for x in (s, t))

    def compare(self, s: Tensor, t: Tensor) -> Tensor:
        # A gradient of zero, not none: that is what a frozen parameter has to give in several processes.
        w = unit(torch.where(self.progress < self.freeze, self.last.weight.detach(), self.last.weight))  # (K, d)
        tau_t = warmed(self.progress, *self.warmup)
        with torch.no_grad():
            p_t = ((t.to(w) @ unit(self.last_t.weight).T - self.center) / tau_t).softmax(dim=-1)  # (N, 2, K)
        losses = []
        for v in range(s.shape[1]):  # the student's outputs are made anew in the backward pass: (N, K) is kept, not V
            target = sum(p_t[:, i] for i in range(t.shape[1]) if i != v)
            losses.append(checkpoint(cross_entropy, target, s[:, v].to(w), w, self.temperature, use_reentrant=False))
        return torch.stack(losses).sum() / (t.shape[1] * (s.shape[1] - 1))  # eq. 3; algorithm 1 divides by its terms

    def update(self, progress: float, s: Tensor, t: Tensor) -> None:
        mean = unit(self.last_t.weight) @ t.mean(dim=(0, 1)).to(self.center)  # (K,): the last layer is linear
        self.center.lerp_(mean, 1 - self.center_momentum)  # eq. 4
        for slow, fast in ((self.teacher, self.student), (self.last_t, self.last)):
            follow(slow, fast, momentum=cosine(progress, self.momentum, 1.0))
        self.progress.fill_(progress)
