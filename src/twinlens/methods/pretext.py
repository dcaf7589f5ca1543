"""Pretext tasks: predict what was done to a sample, or what was taken from it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.batch import Batch
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.heads.mlp import gelu_mlp
from twinlens.method import Method
from twinlens.views.tasks import coloured, find, refuse_grey


class Pretext(Method):
    """Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations", and four more.

    "rotation": arXiv 1803.07728. "jigsaw": Noroozi & Favaro 2016, arXiv 1603.09246. "relative_position": Doersch et al.
    2015, arXiv 1505.05192. "colorization": Zhang et al. 2016, arXiv 1603.08511. "temporal_order": Misra et al.
    2016, arXiv 1603.08561. Answers come with the views (`twinlens.views.tasks`). In each an encoder sees the views
    one by one, and a head their embeddings side by side. Of colours rare ones count more (Zhang et al., section
    2.2); their frequency is here that of the run so far, and no Gaussian smooths it. Where answers are as frequent
    as each other all count the same.

    Args:
        encoder: (N, ...) -> (N, D), with `dim` = D.
        task: One of rotation, jigsaw, relative_position, colorization, temporal_order; rotation, the plainest.
        hidden: Width of the head's hidden layer; 4096 (Noroozi & Favaro, figure 3, fc7), 0 for a linear head.
        uniform: lambda, the share of the uniform distribution in the one that answers are weighted by; 0.5 (Zhang et
            al., section 2.2); 1 weights none.
    """

    views = find("rotation").views
    momentum = 0.99  # of the answers' frequency; a guess
    annealing = 0.38  # temperature of the mean colour that is shown (Zhang et al., section 2.3)

    def __init__(
        self, encoder: nn.Module, *, task: str = "rotation", hidden: int = 4096, uniform: float = 0.5
    ) -> None:  # fmt: skip
        super().__init__()
        self.task, self.uniform = find(task), uniform
        if getattr(encoder, "vocabulary", None):
            raise InputError(f"{task} is a question about pictures, and views are words: choose tsdae or mlm.")
        self.views = self.task.views
        if not 0 < uniform <= 1:
            raise InputError(f"uniform is {uniform}: expected a share above 0, up to 1.")
        if self.task.colour and (shape := getattr(encoder, "shape", None)):
            refuse_grey(shape[0])
        self.encoder = encoder
        layers = [hidden] if hidden else []
        self.predict = gelu_mlp(self.task.shown * dim_of(encoder), *layers, self.task.parts * self.task.answers)
        self.frequency: Tensor
        self.register_buffer("frequency", torch.full((self.task.answers,), 1 / self.task.answers))

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z = answers(batch)
        return F.cross_entropy(self.logits(batch).transpose(1, 2), z, reduction="none"), z

    def compare(self, nats: Tensor, z: Tensor) -> Tensor:
        return (self.weights()[z] * nats).mean()

    def update(self, progress: float, nats: Tensor, z: Tensor) -> None:
        seen = z.flatten().bincount(minlength=self.task.answers) / z.numel()
        self.frequency.lerp_(seen.to(self.frequency), 1 - self.momentum)

    def logits(self, batch: Batch) -> Tensor:
        """(N, A, K) of the answers."""
        h = torch.cat([self.encoder(view) for view in batch.by_size()])  # (V N, D)
        h = h.unflatten(0, (len(batch.views), -1)).transpose(0, 1).flatten(1)  # (N, V D)
        found: Tensor = self.predict(h).unflatten(1, (self.task.parts, -1))
        return found

    def weights(self) -> Tensor:
        """w (K,), of mean 1 over the answers as they are (eq. 4)."""
        p = self.frequency
        w = 1 / ((1 - self.uniform) * p + self.uniform / len(p))
        return w / (p * w).sum()

    def tell(self, batch: Batch) -> dict[str, float]:
        return {"right": float((self.logits(batch).argmax(2) == answers(batch)).float().mean())}

    def show(self, batch: Batch) -> dict[str, Tensor]:
        if not self.task.colour:
            return {}  # the views are all there is
        (seen,), true = batch.views, F.one_hot(answers(batch), self.task.answers)
        chances = (self.logits(batch).float() / self.annealing).softmax(2)
        return {"seen": seen, "coloured": coloured(seen, chances), "true": coloured(seen, true)}


def answers(batch: Batch) -> Tensor:
    """z (N, A)."""
    assert batch.target is not None
    return batch.target.reshape(len(batch.target), -1)
