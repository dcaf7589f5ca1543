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
        known, truth = self.bank.labels, self.held.labels
        if known is None or truth is None or not z.isfinite().all():
            return {}
        if known.dtype.kind == "f" or len(np.unique(known)) < 2:
            return {}  # scores of pairs, or one class
        bank = embed(encoder, self.bank, self.maker, device=self.device)
        return {"knn": knn(Labelled(bank, torch.from_numpy(known)), Labelled(z, torch.from_numpy(truth))).value}
