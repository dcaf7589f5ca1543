"""The loop: one page, the same for every method."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from twinlens import distributed, random
from twinlens.batch import Views
from twinlens.errors import InputError
from twinlens.feed import Feed
from twinlens.gradients import gradients
from twinlens.method import Method
from twinlens.update.optimizers import Name
from twinlens.update.schedules import warmup_cosine


@dataclass(frozen=True)
class Training:
    """How the weights are moved, whatever the method.

    Args:
        epochs: Passes over the samples, 0.5 for half a pass; 100, the shortest run of SimCLR's figure 9.
        batch: Samples in a step, over all processes and micro-batches together; 256, the smallest of SimCLR's figure 9.
        micro_batches: Parts in which a process encodes its share of the batch; the gradient stays that of the whole
            batch, memory falls, time grows by a forward (Gao et al. 2021, arXiv 2101.06983).
        micro_tokens: Most words of a part, what fills rows up included: texts are then parted by length, into as many
            parts as that takes, in place of `micro_batches`; the gradient stays that of the whole batch. 0 does not.
        optimizer: adamw, lars or sgd.
        rate: Peak learning rate, as it is: nothing scales it by the batch; 1e-3, Adam's own (Kingma & Ba 2015).
        decay: Weight decay of matrices; biases and norms are not decayed; 0.05 (MAE, appendix A.1, with AdamW).
        warmup: Share of the run over which the rate rises from 0; a cosine takes it back to 0; 0.05 (MAE: 40 of 800).
        clip: Largest norm of the gradient; 0 leaves it alone.
        precision: bf16-mixed or 32-true; auto takes bf16-mixed on a GPU.
        small_views: How many small views are made for a method that asks for some; unless given, as many as it asks.
        stop_on_collapse: End a run that two looks in a row find collapsed or diverged, with an error.
        seed: Of initial weights, the order of samples and every random view.
    """

    epochs: float = 100
    batch: int = 256
    micro_batches: int = 1
    micro_tokens: int = 0
    optimizer: Name = "adamw"
    rate: float = 1e-3
    decay: float = 0.05
    warmup: float = 0.05
    clip: float = 0.0
    precision: Literal["auto", "bf16-mixed", "32-true", "64-true"] = "auto"
    small_views: int | None = None
    stop_on_collapse: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.epochs < math.inf:
            raise InputError(f"epochs are {self.epochs}: expected a number above 0, 0.5 for half a pass.")
        if self.small_views is not None and self.small_views < 0:
            raise InputError(f"small_views is {self.small_views}: expected 0 or more.")

    def views(self, asked: Views) -> Views:
        """What is made of what a method asks for."""
        return asked if self.small_views is None or not asked.small else replace(asked, small=self.small_views)

    def steps(self, samples: int) -> int:
        """How many steps the run takes over that many samples, each pass without its incomplete last batch."""
        return round(self.epochs * (samples // self.batch))


class Step(NamedTuple):
    """What a step leaves behind: its number from 1, the share of the run done, the loss (still on the device)."""

    number: int
    progress: float
    loss: Tensor
    rate: float


def train(
    fabric: Fabric, method: Method, optimizer: torch.optim.Optimizer, feed: Feed, training: Training, *, start: int = 0
) -> Iterator[Step]:
    """Takes the steps from `start` to the end, one for each item drawn. `method` is as `fabric.setup` gave it."""
    total = training.steps(len(feed.samples))
    method.train()  # models from elsewhere come as they are evaluated, without dropout
    for step, chunks in enumerate(feed.run(start, total), start):
        rate = training.rate * warmup_cosine((step + 0.5) / total, warmup=training.warmup)
        for group in optimizer.param_groups:
            group["lr"] = (training.rate if group["fixed"] else rate) * group["factor"]
        torch.manual_seed(random.seed(training.seed, step, distributed.rank()))  # for encoders that draw by themselves
        optimizer.zero_grad()
        loss, parts = gradients(fabric, method, chunks, feed.batch)
        if training.clip:
            nn.utils.clip_grad_norm_(method.parameters(), training.clip)
        optimizer.step()
        method.update((step + 1) / total, *parts)
        yield Step(step + 1, (step + 1) / total, loss, rate)
