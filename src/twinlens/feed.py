"""Samples -> batches: the order of an epoch, this process's share of it, and the creation of pairs."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from twinlens import distributed, random
from twinlens.batch import Batch, Maker, Raw, Samples, Views
from twinlens.distinct import distinct
from twinlens.views.tasks import find


class Chunk(NamedTuple):
    """Makes one micro-batch; called again, it makes the same one, since its randomness is counted.

    `rows` (n,) are the places of its samples in this process's share of the batch. `split` says whether the batch may
    be in several parts, here or in another process.
    """

    make: Callable[[], Batch]
    rows: Tensor
    split: bool

    def __call__(self) -> Batch:
        return self.make()


class Feed:
    """Step number -> the micro-batches of this process, with the next step's samples read ahead.

    Step s takes the samples s * batch ... (s + 1) * batch of the endless sequence of epochs, each a permutation of the
    samples without its incomplete last batch; this process takes a contiguous run of them. So what a step sees depends
    on (seed, step) alone. Samples that are the same (`Samples.identity`) are kept out of one batch as far as can be.

    A process's share is cut into `micro_batches` parts or, with `tokens` and samples that differ in length, into parts
    of samples of like lengths, so that a part has about that many tokens at most, what fills rows up included.
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
        tokens: int = 0,
    ) -> None:
        self.samples, self.maker, self.views = samples, maker, views
        self.tokens = tokens if samples.lengths is not None else 0
        self._identity = samples.identity
        self.batch, self.micro_batches, self.seed, self.device = batch, micro_batches, seed, device
        self.steps = len(samples) // batch  # in an epoch
        self.waited = 0.0  # seconds for which a step had to wait for its samples
        self._order = -1, torch.empty(0, dtype=torch.int64)
        self._labels = torch.from_numpy(samples.labels) if views.labels and samples.labels is not None else None

    def index(self, step: int) -> Tensor:
        """The sample indices of this process at a step: (n,)."""
        epoch, position = divmod(step, self.steps)
        if self._order[0] != epoch:
            self._order = epoch, self._apart(random.permutation(len(self.samples), self.seed, epoch))
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
                yield [self._chunk(step // self.steps, *part) for part in chunks]

    def _read(self, step: int) -> list[tuple[Tensor, Tensor, Raw]]:
        index = self.index(step)
        return [(rows, index[rows], self.samples.fetch(index[rows])) for rows in self._parts(index)]

    def _apart(self, order: Tensor) -> Tensor:
        """`order` (N,) with repeated samples in different batches; those for which there is no batch come last."""
        if self._identity is None or len(self._identity.unique()) in range(self.batch):
            return order
        first = distinct(order, self._identity, self.batch)
        return torch.cat((first, order[~torch.isin(order, first)]))

    def _parts(self, index: Tensor) -> list[Tensor]:
        """The rows of each micro-batch among the samples at `index` (n,)."""
        rows = torch.arange(len(index))
        if not self.tokens:
            return list(rows.tensor_split(self.micro_batches))
        assert self.samples.lengths is not None
        most = self.maker.sizes.get("length", self.tokens)
        cost = self.samples.lengths.cpu()[index].clamp(max=most)
        cost = torch.full_like(cost, most) if self.views.strength == "weak" else cost  # filled up to the same length
        order, parts, start = cost.argsort(stable=True), [], 0
        longest = cost[order].tolist()
        for place, length in enumerate(longest):
            if place > start and (place + 1 - start) * length > self.tokens:
                parts.append(order[start:place])
                start = place
        return [*parts, order[start:]]

    def _chunk(self, epoch: int, rows: Tensor, index: Tensor, raw: Raw) -> Chunk:
        def make() -> Batch:
            here = index.to(self.device, non_blocking=True)
            moved = tuple(tensor.to(self.device, non_blocking=True) for tensor in raw)
            labels = None if self._labels is None else self._labels[index].to(self.device, non_blocking=True)
            return create(self.maker, self.views, moved, here, random.keys(self.seed, epoch, here), labels)

        return Chunk(make, rows, self.micro_batches > 1 or self.tokens > 0)


def create(maker: Maker, views: Views, raw: Raw, index: Tensor, key: Tensor, labels: Tensor | None = None) -> Batch:
    """Step 1 for raw samples with their `index` (N,) and counted randomness `key` (N,): the views a method asks for.

    `labels` (N,) are the target of a method that learns from them; where the views carry a task, that is its answer.
    """
    made = maker.create(raw, random.fold(key, 0), views)
    target = labels
    if views.task:
        made, target = find(views.task).ask(made, random.fold(key, 2))
    return Batch(made, index, random.fold(key, 1), target)
