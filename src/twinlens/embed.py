"""Samples -> embeddings, by a frozen encoder on clean views."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from twinlens.batch import Maker, Samples


def clean_views(samples: Samples, maker: Maker, *, device: torch.device, batch: int = 512) -> Iterator[Tensor]:
    """The clean view of every sample, in order, at most `batch` at a time."""
    for index in torch.arange(len(samples)).split(batch):
        yield maker.clean(tuple(tensor.to(device) for tensor in samples.fetch(index)))


@torch.inference_mode()
def embed(encoder: nn.Module, samples: Samples, maker: Maker, *, device: torch.device, batch: int = 512) -> Tensor:
    """The encoder's output for the clean view of every sample: (N, D) float32 on the processor.

    The encoder runs in evaluation mode and is handed back in the mode it came in.
    """
    training = encoder.training
    encoder.eval()
    try:
        rows = [encoder(view).float().cpu() for view in clean_views(samples, maker, device=device, batch=batch)]
    finally:
        encoder.train(training)
    return torch.cat(rows)
