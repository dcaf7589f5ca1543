"""From names and settings to an encoder and a method with initial weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from twinlens import discover
from twinlens.encoders import foreign
from twinlens.encoders.contract import CausalEncoder, TokenEncoder
from twinlens.errors import InputError, unknown
from twinlens.method import Method


def encoder(name: str, channels: int, size: int, settings: Mapping[str, Any], *, seed: int) -> nn.Module:
    """The encoder of that name for views (channels, size, size), its weights drawn from `seed`."""
    torch.manual_seed(seed)
    if "/" in name:
        return foreign.named(name, channels, size, **settings)
    if name not in discover.encoders():
        raise unknown("encoder", name, discover.encoders())
    return discover.encoders()[name](channels, size, **settings)


def method(
    name: str, encoder: nn.Module, settings: Mapping[str, Any], *, architecture: str, samples: int, seed: int
) -> Method:
    """The method of that name around an encoder, which is called `architecture`; its heads are drawn from `seed`.

    A method that keeps something for each of the data's `samples` has an argument of that name without a default.
    """
    cls = discover.method(name)
    kind = discover.encoder_kind(cls)
    if kind in (TokenEncoder, CausalEncoder) and not isinstance(encoder, TokenEncoder):
        raise InputError(f"{name} needs an encoder that gives tokens: vit instead of {architecture!r}.")
    if kind is CausalEncoder and not encoder.causal:
        raise InputError(f"{name} predicts what its encoder has not seen yet: set --causal true.")
    torch.manual_seed(seed)
    return cls(encoder, **settings, **({"samples": samples} if discover.counts_samples(cls) else {}))
