"""What tests of methods over tokens share: an encoder for every kind of tokens, and batches of noise for it."""

from collections.abc import Callable
from typing import Any

import torch
from support import awake

from twinlens import random
from twinlens.batch import Batch
from twinlens.encoders.clip import clip
from twinlens.encoders.sequence import waves, words
from twinlens.encoders.tokens import Tokens
from twinlens.encoders.vit import vit
from twinlens.method import Method


def encoders(
    *, size: int = 8, vocabulary: int = 7, length: int = 10, moments: int = 24,
    film: tuple[int, int, int, int] = (4, 3, 4, 4), depth: int = 2, causal: bool = False,
) -> dict[str, Callable[[], Tokens]]:  # fmt: skip
    """What makes an encoder of pictures of `size` pixels, of `length` words, of `moments` of a wave, of a `film`."""
    common: dict[str, Any] = {"width": 16, "depth": depth, "heads": 2, "causal": causal}
    return {
        "pictures": lambda: vit(3, size, patch=2, **common),
        "words": lambda: awake(words(vocabulary, length, dropout=0.0, **common)),
        "waves": lambda: waves(2, moments, window=3, **common),
        "clips": lambda: clip(film, patch=2, **common),
    }


MEASURED = ("pictures", "waves", "clips")  # what has a gradient


def batch(method: Method, samples: int = 4) -> Batch:
    """Float64 noise, or ids of words drawn at random, as the method's encoder takes it."""
    encoder = next(module for module in method.modules() if isinstance(module, Tokens))
    shape, draw = (samples, *encoder.shape), torch.Generator().manual_seed(1)
    if encoder.vocabulary:
        view = torch.randint(encoder.vocabulary, shape, generator=draw)
    else:
        view = torch.randn(shape, generator=draw, dtype=torch.float64)
    return Batch((view,), torch.arange(samples), random.keys(0, 0, torch.arange(samples)))
