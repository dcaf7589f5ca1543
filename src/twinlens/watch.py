"""What a run is watched by: looks at its held-out samples, nearest neighbours where there are labels, and a verdict."""

import time

import numpy as np
import torch
from torch import Tensor, nn

from twinlens.batch import Maker, Samples, Views
from twinlens.embed import embed
from twinlens.evaluate.knn import knn
from twinlens.evaluate.result import Labelled
from twinlens.method import Method
from twinlens.monitor.look import Look, gradient

BANK = 1000  # training samples among which neighbours are looked for


class Watch:
    """Looks at a run now and then, and says what it sees as numbers for a row of metrics."""

    def __init__(
        self, initial: nn.Module, held: Samples, bank: Samples, learn: Samples, maker: Maker, views: Views,
        *, batch: int, seed: int, device: torch.device,
    ) -> None:  # fmt: skip
        self.look = Look(initial, held, learn, maker, views, batch=batch, seed=seed, device=device)
        self.held, self.bank, self.maker, self.device = held, bank, maker, device

    def __call__(self, method: Method, encoder: nn.Module, step: int) -> dict[str, float]:
        """What a `Look` tells after a step, the gradient's norm, kNN accuracy if there are labels, and its time."""
        began = time.perf_counter()
        z = self.look.embed(encoder)
        values = self.look(method, encoder, z, trained=step > 0) | gradient(method) | self._neighbours(encoder, z)
        return values | {"look_seconds": time.perf_counter() - began}

    def _neighbours(self, encoder: nn.Module, z: Tensor) -> dict[str, float]:
        if not _classed(self.bank) or self.held.labels is None or not z.isfinite().all():
            return {}
        bank = embed(encoder, self.bank, self.maker, device=self.device)
        labels = torch.from_numpy(self.bank.labels), torch.from_numpy(self.held.labels)
        return {"knn": knn(Labelled(bank, labels[0]), Labelled(z, labels[1])).value}


def _classed(samples: Samples) -> bool:
    """Whether there are two classes or more; scores of pairs are none."""
    return samples.labels is not None and samples.labels.dtype.kind != "f" and len(np.unique(samples.labels)) > 1
