"""Other processes: the only file that knows there are any.

With one process, or none started by torch.distributed, every function here is the identity.
"""

import ctypes
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn


def world() -> int:
    """How many processes work on the batch together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's place among them, from 0."""
    return dist.get_rank() if world() > 1 else 0


def device() -> torch.device:
    """Where a single process computes: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def keep_memory() -> None:
    """Has glibc keep freed memory for the next step instead of giving it back; nothing on other systems.

    Large tensors on a processor are otherwise new pages each time they are made, and the faults cost a third of the
    time of views of 224 pixels (534 views a second before, 695 after, on two cores).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "gnu_get_libc_version"):
        for option, value in ((-1, 2**31 - 1), (-3, 2**30)):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
            libc.mallopt(option, value)


def gather(part: Tensor) -> Tensor:
    """The rows of all processes, in rank order: (n, ...) -> (N, ...); processes may hold different numbers of rows.

    The backward is exact: each process receives, for its own rows, the *sum* of the gradients that all processes
    computed. With `DistributedDataParallel`, which averages, W equal losses of the whole batch then give the gradient
    of one such loss. (Slicing without the sum, as often seen, loses a factor W or the other processes' terms.)
    """
    return part if world() == 1 else _Gather.apply(part)  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        own = torch.tensor([len(part)], device=part.device)
        counts = [torch.empty_like(own) for _ in range(world())]
        dist.all_gather(counts, own)
        ctx.counts = [int(count) for count in counts]
        padded = part.new_zeros((max(ctx.counts), *part.shape[1:]))  # collectives want equal shapes
        padded[: len(part)] = part
        rows = [torch.empty_like(padded) for _ in ctx.counts]
        dist.all_gather(rows, padded)
        return torch.cat([row[:count] for row, count in zip(rows, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        own: Tensor = grad.split(ctx.counts)[rank()]
        return own


def total(x: Tensor) -> Tensor:
    """The sum over processes, without gradient."""
    x = x.detach().clone()
    if world() > 1:
        dist.all_reduce(x)
    return x


def share(index: Tensor) -> Tensor:
    """This process's contiguous run of a global batch's sample indices: (N,) -> (n,)."""
    return index.tensor_split(world())[rank()]


class _Sum(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum over processes as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        dist.all_reduce(grad)
        return grad


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batch of all processes, on any device (torch's own form runs on GPUs only).

    Mean and variance are summed in two passes rather than from raw moments, which cancel badly in float32.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape (N, C, ...) will do."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        shape = (1, -1, *[1] * (input.ndim - 2))
        rows = input.new_tensor([input.numel() / input.shape[1]])
        total = _Sum.apply(torch.cat((input.sum(axes), rows)))  # type: ignore[no-untyped-call]
        mean, count = total[:-1] / total[-1], total[-1]
        centred = input - mean.view(shape)
        var = _Sum.apply((centred * centred).sum(axes)) / count  # type: ignore[no-untyped-call]
        self._track(mean.detach(), (var * count / (count - 1)).detach())
        normal: Tensor = centred * (var + self.eps).rsqrt().view(shape)
        return normal if self.weight is None else normal * self.weight.view(shape) + self.bias.view(shape)

    def _track(self, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def synchronise(module: nn.Module) -> None:
    """Makes every batch normalisation in the module one over the batch of all processes, where there are several.

    Only the class of each norm is exchanged: its state, its mode and which of its parameters learn stay as they are.
    """
    for norm in module.modules() if world() > 1 else ():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.__class__ = SynchronisedBatchNorm


def launch(devices: int, precision: str) -> Fabric:
    """This process's Fabric, on GPUs where there are any: as torchrun or SLURM started it, else one of `devices`."""
    started = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    nodes = int(os.environ.get("WORLD_SIZE", started)) // started
    accelerator = device().type
    if accelerator == "cpu":
        keep_memory()
    if precision == "auto":
        precision = "bf16-mixed" if accelerator == "cuda" else "32-true"
    strategy = DDPStrategy(broadcast_buffers=False) if started * nodes > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=started, num_nodes=nodes, strategy=strategy, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric
