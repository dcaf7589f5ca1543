"""Two steps with every contrastive loss, in however many processes started it; run by test_losses_across.py.

Usage: across.py OUT.safetensors. Names: <variant>/<step>/<parameter>, /loss, and the queue after both steps.
"""

import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from support import SIZE, feed
from torch import Tensor, nn

from twinlens import distributed, losses
from twinlens.batch import Batch, Views
from twinlens.encoders.vit import vit
from twinlens.gradients import gradients
from twinlens.heads.temperature import Temperature
from twinlens.method import Method
from twinlens.update.queue import Queue


class Everything(Method):
    """All losses at once, with a queue and a temperature and a bias that learn."""

    views = Views(large=2)

    def __init__(self, encoder: nn.Module, *, temperature: float) -> None:
        super().__init__()
        self.encoder, self.project = encoder, nn.Linear(encoder.dim, 6)
        self.temperature, self.bias = Temperature(temperature), nn.Parameter(torch.tensor(-1.0))
        self.queue = Queue(16, 6)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        z1, z2 = self.project(self.encoder(torch.cat(batch.views))).chunk(2)
        return z1, z2, batch.index

    def compare(self, z1: Tensor, z2: Tensor, index: Tensor) -> Tensor:
        t, z, labels = self.temperature(), torch.cat((z1, z2)), index.repeat(2) % 3
        return (
            losses.nt_xent(z1, z2, temperature=t, ids=labels[: len(index)])
            + losses.info_nce(z1, z2.detach(), self.queue.rows, temperature=t, ids=index, negative_ids=self.queue.ids)
            + losses.clip(z1, z2, temperature=t)
            + losses.sigmoid(z1, z2, temperature=t, bias=self.bias)
            + losses.supcon(z, labels, temperature=t)
            + losses.decoupled(z1, z2, temperature=t, sigma=0.5)
            + losses.reweighted(z1, z2, temperature=t)
            + losses.triplet(z, labels, margin=0.5, mining="all")
            + losses.uniformity(z)
        )

    def update(self, progress: float, *parts: Tensor) -> None:
        _, z2, index = parts
        self.queue.push(z2, index)


def two_steps(temperature: float, *, micro_batches: int = 1) -> dict[str, Tensor]:
    """Name -> gradient at each of two steps of 11 samples, in float64; the queue at the end."""
    fabric = distributed.launch(1, "64-true")
    torch.set_default_dtype(
        torch.float64
    )  # the type to which Fabric converts a module's outputs, whatever its precision
    torch.manual_seed(0)
    method = Everything(vit(3, SIZE, patch=2, width=16, depth=1, heads=2), temperature=temperature)
    model = fabric.setup_module(method)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.01)
    data = feed(Everything, samples=22, batch=11, micro_batches=micro_batches)
    found = {}
    for step, chunks in enumerate(data.run(0, 2)):
        optimizer.zero_grad()
        loss, parts = gradients(fabric, model, chunks, data.batch)
        found |= {f"{step}/{name}": p.grad.clone() for name, p in method.named_parameters()} | {f"{step}/loss": loss}
        optimizer.step()
        method.update((step + 1) / 2, *parts)
    torch.set_default_dtype(torch.float32)
    return found | {"queue": method.queue.rows.clone(), "ids": method.queue.ids.clone()}


VARIANTS = {"warm": (0.2, 1), "cold": (0.01, 1), "micro": (0.2, 2)}

if __name__ == "__main__":
    torch.set_num_threads(1)
    everything = {
        f"{name}/{key}": value
        for name, (temperature, micro_batches) in VARIANTS.items()
        for key, value in two_steps(temperature, micro_batches=micro_batches).items()
    }
    if distributed.rank() == 0:
        save_file(everything, sys.argv[1])
    if dist.is_initialized():
        dist.destroy_process_group()
