"""Computes, in however many processes started it, the gradient of one batch for every method; run by test_guarantee.py.

Usage: guarantee.py OUT.safetensors. Names: <variant>/<method>/<parameter>, and /loss.
"""

import sys
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from support import build, feed, still_norms
from torch import Tensor

from twinlens import discover, distributed
from twinlens.gradients import gradients


def batch_gradient(name: str, *, micro_batches: int, still: bool, batch: int = 12) -> dict[str, Tensor]:
    """Parameter name -> gradient of one step's batch, in float64, as on this process."""
    cls = discover.methods()[name]
    fabric = distributed.launch(1, "64-true") if distributed.world() == 1 else FABRIC
    method = build(cls)
    if still:
        still_norms(method)
    distributed.synchronise(method)
    model: Any = fabric.setup_module(method)
    data = feed(cls, batch=batch, micro_batches=micro_batches)
    (chunks,) = data.run(0, 1)
    loss, _ = gradients(fabric, model, chunks, data.batch)
    found = {n: p.grad for n, p in model.module.named_parameters() if p.grad is not None}
    return {"loss": loss, **{name.removeprefix("module."): grad.clone() for name, grad in found.items()}}


class _Broken(distributed._Gather):
    """The gather as it is often found: the gradient of the other processes' losses is lost."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0].split(ctx.counts)[distributed.rank()]


def main(out: str) -> None:
    found: dict[str, Tensor] = {}
    for name in discover.methods():
        variants = {
            "plain": batch_gradient(name, micro_batches=1, still=True),
            "micro": batch_gradient(name, micro_batches=3, still=True),
            "norms": batch_gradient(name, micro_batches=1, still=False),
            "uneven": batch_gradient(name, micro_batches=2, still=True, batch=11),
        }
        distributed._Gather, exact = _Broken, distributed._Gather  # type: ignore[misc]
        variants["broken"] = batch_gradient(name, micro_batches=1, still=True)
        distributed._Gather = exact  # type: ignore[misc]
        for variant, grads in variants.items():
            found |= {f"{variant}/{name}/{parameter}": grad for parameter, grad in grads.items()}
    if distributed.rank() == 0:
        save_file(found, out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    FABRIC = distributed.launch(1, "64-true")
    main(sys.argv[1])
    if dist.is_initialized():
        dist.destroy_process_group()
