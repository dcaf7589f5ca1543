"""Samples -> batches: the order of an epoch, this process's share of it, and the creation of pairs."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from twinlens import distributed, random
from twinlens.batch import Batch, Maker, Raw, Samples, Views
from twinlens.views.tasks import find

Chunk = Callable[[], Batch]
"""Makes one micro-batch; called again, it makes the same one, since its randomness is counted."""


class Feed:
    """Step number -> the micro-batches of this process, with the next step's samples read ahead.

    Step s takes the samples s * batch ... (s + 1) * batch of the endless sequence of epochs, each a permutation of the
    samples without its incomplete last batch; this process takes a contiguous run of them. So what a step sees depends
    on (seed, step) alone.
    """

    def __init__(
        self,
        samples: Samples,
        maker: Maker,
        views: Views,
        *,
        batch: int,
        micro_batches: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.samples, self.maker, self.views = samples, maker, views
        self.batch, self.micro_batches, self.seed, self.device = batch, micro_batches, seed, device
        self.steps = len(samples) // batch  # in an epoch
        self.waited = 0.0  # seconds for which a step had to wait for its samples
        self._order = -1, torch.empty(0, dtype=torch.int64)
        self._labels = torch.from_numpy(samples.labels) if views.labels and samples.labels is not None else None

    def index(self, step: int) -> Tensor:
        """The sample indices of this process at a step: (n,)."""
        epoch, position = divmod(step, self.steps)
        if self._order[0] != epoch:
            self._order = epoch, random.permutation(len(self.samples), self.seed, epoch)
        return distributed.share(self._order[1][position * self.batch :][: self.batch])

    def run(self, start: int, stop: int) -> Iterator[list[Chunk]]:
        """The micro-batches of the steps start ... stop - 1."""
        with ThreadPoolExecutor(1, "twinlens-read") as reader:
            ahead = reader.submit(self._read, start)
            for step in range(start, stop):
                began = time.perf_counter()
                chunks = ahead.result()
                self.waited += time.perf_counter() - began
                if step + 1 < stop:
                    ahead = reader.submit(self._read, step + 1)
                yield [self._chunk(step // self.steps, index, raw) for index, raw in chunks]

    def _read(self, step: int) -> list[tuple[Tensor, Raw]]:
        index = self.index(step)
        return [(part, self.samples.fetch(part)) for part in index.tensor_split(self.micro_batches)]

    def _chunk(self, epoch: int, index: Tensor, raw: Raw) -> Chunk:
        def make() -> Batch:
            here = index.to(self.device, non_blocking=True)
            moved = tuple(tensor.to(self.device, non_blocking=True) for tensor in raw)
            labels = None if self._labels is None else self._labels[index].to(self.device, non_blocking=True)
            return create(self.maker, self.views, moved, here, random.keys(self.seed, epoch, here), labels)

        return make


def create(maker: Maker, views: Views, raw: Raw, index: Tensor, key: Tensor, labels: Tensor | None = None) -> Batch:
    """Step 1 for raw samples with their `index` (N,) and counted randomness `key` (N,): the views a method asks for.

    `labels` (N,) are the target of a method that learns from them; where the views carry a task, that is its answer.
    """
    made = maker.create(raw, random.fold(key, 0), views)
    target = labels
    if views.task:
        made, target = find(views.task).ask(made, random.fold(key, 2))
    return Batch(made, index, random.fold(key, 1), target)
