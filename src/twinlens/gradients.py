"""The batch guarantee: one gradient for a batch, however many processes and micro-batches share it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from twinlens import distributed
from twinlens.feed import Chunk
from twinlens.method import Method


def gradients(fabric: Fabric, model: Any, chunks: Sequence[Chunk], batch: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Adds the gradient of a global batch of `batch` samples to the parameters.

    `model` is the method as `fabric.setup` wrapped it, `chunks` are this process's micro-batches. Returns the loss and
    the whole batch's parts, both without gradient. The batch guarantee lives here and in `distributed.gather`.
    """
    method: Method = getattr(model, "module", model)
    if not method.coupled:
        return _separately(fabric, model, method, chunks, batch), ()
    if not chunks[0].split:
        whole = tuple(distributed.gather(part) for part in model(chunks[0]()))
        loss = method.compare(*whole)
        fabric.backward(loss)
        return loss.detach(), tuple(part.detach() for part in whole)
    return _cached(fabric, model, method, chunks)


def _separately(fabric: Fabric, model: Any, method: Method, chunks: Sequence[Chunk], batch: int) -> Tensor:
    """A method that compares sample by sample: each chunk's mean, weighted by its share of the batch."""
    total = torch.zeros((), device=fabric.device)
    for number, chunk in enumerate(chunks, 1):
        made = chunk()
        with fabric.no_backward_sync(model, enabled=number < len(chunks)):
            loss = method.compare(*model(made)) * (len(made.index) / batch)
            fabric.backward(loss * distributed.world())  # the wrapper averages over processes
        total = total + loss.detach()
    return distributed.total(total)


def _cached(fabric: Fabric, model: Any, method: Method, chunks: Sequence[Chunk]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Cached gradients (Gao et al. 2021, section 3): encode without graph, compare, encode again with the gradients.

    The parameters that `compare` itself used enter the last chunk's sum, so that the wrapper's reducer sees them too.
    The generator's state is replayed for each chunk, for the sake of encoders with a dropout that is not counted.
    """
    with torch.no_grad(), _frozen_statistics(method):
        states, first = zip(*((_generators(fabric.device), model(chunk())) for chunk in chunks), strict=True)
    back = torch.cat([chunk.rows for chunk in chunks]).argsort()  # from the order of chunks to that of the batch
    own = [torch.cat(part)[back.to(part[0].device)] for part in zip(*first, strict=True)]
    own = [part.requires_grad_() if part.is_floating_point() else part for part in own]
    whole = [distributed.gather(part) for part in own]
    loss = method.compare(*whole)
    used = [parameter for parameter in method.parameters() if parameter.requires_grad]
    inputs = [part for part in own if part.requires_grad] + used
    grads = dict(zip(inputs, torch.autograd.grad(loss, inputs, allow_unused=True), strict=True))
    for number, chunk in enumerate(chunks, 1):
        last = number == len(chunks)
        with fabric.no_backward_sync(model, enabled=not last):
            _replay(states[number - 1], fabric.device)
            parts = model(chunk())
            pairs = [
                (part, cached[chunk.rows.to(cached.device)])
                for part, all_ in zip(parts, own, strict=True)
                if (cached := grads.get(all_)) is not None
            ]
            pairs += [(parameter, grad) for parameter in used if last and (grad := grads[parameter]) is not None]
            fabric.backward(sum((part * grad).sum() for part, grad in pairs if part.requires_grad))
    return loss.detach(), tuple(part.detach() for part in whole)


def _generators(device: torch.device) -> tuple[Tensor, ...]:
    state = torch.get_rng_state()
    return (state, torch.cuda.get_rng_state(device)) if device.type == "cuda" else (state,)


def _replay(states: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms leave their running averages alone inside, so that two passes count once."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
