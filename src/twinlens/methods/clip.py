"""CLIP: of all pairs of a batch, which belong together? Pictures and captions, or any two parts of the data."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from twinlens import losses
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import PairEncoder
from twinlens.errors import InputError
from twinlens.heads.temperature import Temperature
from twinlens.method import Method
from twinlens.views.identity import digest

START = {"softmax": (0.07, 0.01), "sigmoid": (0.1, 1e-6)}  # temperature at first, and at least (SigLIP sets no limit)


class CLIP(Method):
    """Radford et al. 2021, "Learning transferable visual models from natural language supervision".

    arXiv 2103.00020, section 2.3 and figure 3. With `loss` "sigmoid" it is SigLIP: Zhai et al. 2023, "Sigmoid loss for
    language image pre-training", arXiv 2303.15343, algorithm 1. With `lock` "image" it is LiT: Zhai et al. 2022, "LiT:
    zero-shot transfer with locked-image text tuning", arXiv 2111.07991, section 3.2; the locked tower's projection
    still learns, as ours is drawn at random (the authors' published settings leave it out and embed into the picture's
    own space). Pairs with the same caption are no negatives of each other, as neither paper has it; where no part is a
    text each pair is one of its own.

    Args:
        encoder: (N, ...) -> (N, D): `encoders.towers.Towers`, or one module that takes both parts.
        temperature: Divides the cosines, learnt from here on; 0.07 for softmax (section 2.5), where it stays above
            0.01, and 0.1 for sigmoid (algorithm 1).
        loss: "softmax" over the batch, in both directions, or "sigmoid", each pair by itself.
        bias: Added to each logit of the sigmoid, learnt from here on; -10 (algorithm 1). Ignored for softmax.
        lock: Which tower stays as it is: "image" or "text"; by default none.
    """

    views = Views(large=2, strength="weak", paired=True)

    def __init__(
        self, encoder: nn.Module, *, temperature: float | None = None,
        loss: Literal["softmax", "sigmoid"] = "softmax", bias: float = -10.0, lock: Literal["", "image", "text"] = "",
    ) -> None:  # fmt: skip
        super().__init__()
        if loss not in START or lock not in ("", "image", "text"):
            raise InputError(f"loss is {loss!r} and lock {lock!r}: expected softmax or sigmoid, and image, text or ''.")
        if lock and not isinstance(encoder, PairEncoder):
            raise InputError(f"lock is {lock!r}, but {type(encoder).__name__} has no towers: leave lock empty.")
        first, least = START[loss]
        first = first if temperature is None else temperature
        if not (math.isfinite(first) and first >= least):
            raise InputError(f"temperature is {first}: expected {least} or more.")
        self.encoder, self.lock = encoder, lock
        self.temperature = Temperature(first, least=least)
        self.bias = nn.Parameter(torch.tensor(float(bias))) if loss == "sigmoid" else None
        if lock:
            getattr(encoder, lock).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "CLIP":
        super().train(mode)
        if self.lock:
            getattr(self.encoder, self.lock).eval()
        return self

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        a, b = map(self.encoder, batch.views[:2])  # (N, D) each
        texts = [view for view in batch.views[:2] if not view.is_floating_point()]
        return a, b, digest(texts[-1]) if texts else batch.index

    def compare(self, a: Tensor, b: Tensor, ids: Tensor) -> Tensor:
        temperature = self.temperature()
        if self.bias is None:
            return losses.clip(a, b, temperature=temperature, ids=ids)
        return losses.sigmoid(a, b, temperature=temperature, bias=self.bias, ids=ids)
