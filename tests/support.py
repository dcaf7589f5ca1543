"""Small things that several tests need: samples, views and an encoder that run in milliseconds."""

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from twinlens import discover, random
from twinlens.batch import Maker, Raw, Samples, Views
from twinlens.encoders.contract import CausalEncoder
from twinlens.encoders.vit import vit
from twinlens.feed import Feed
from twinlens.method import Method
from twinlens.views.tasks import TASKS

SIZE = 8


class Noise(Samples):
    """Pictures of nothing: (N, SIZE, SIZE, 3) uint8, in four classes of nothing."""

    name, modality, fingerprint = "noise", "image", "0"

    def __init__(self, count: int, seed: int = 0) -> None:
        self.pixels = torch.randint(256, (count, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(seed)).byte()
        self.labels = np.arange(count) % 4

    def __len__(self) -> int:
        return len(self.pixels)

    def fetch(self, index: Tensor) -> Raw:
        return (self.pixels[index],)


class Shaken(Maker):
    """A view is the sample plus counted noise."""

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        plain = self.clean(raw)
        count = views.large + views.small
        return tuple(plain + 0.5 * random.normal(random.fold(key, v), *plain.shape[1:]) for v in range(count))

    def clean(self, raw: Raw) -> Tensor:
        return raw[0].permute(0, 3, 1, 2).float() / 64 - 2


def feed(method: Method | type[Method], *, samples: int = 24, batch: int = 12, micro_batches: int = 1) -> Feed:
    return Feed(
        Noise(samples),
        Shaken(),
        method.views,
        batch=batch,
        micro_batches=micro_batches,
        seed=0,
        device=torch.device("cpu"),
    )


def small_settings(target: Any) -> dict[str, Any]:
    """A target's settings with every width and depth cut down to 16 at most."""
    return {name: min(value, 16) for name, value in discover.settings(target).items() if type(value) is int}


def variants(cls: type[Method]) -> list[dict[str, Any]]:
    """The settings that make a method another one: each task of one that has them; else none."""
    return [{"task": name} for name in TASKS] if "task" in discover.settings(cls) else [{}]


def build(cls: type[Method], seed: int = 0, samples: int = 24, **settings: Any) -> Method:
    """A method at toy size over an encoder without batch statistics, the same for the same seed."""
    torch.manual_seed(seed)
    counted = {"samples": samples} if discover.counts_samples(cls) else {}
    encoders = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    causal = discover.encoder_kind(cls) is CausalEncoder
    towers = (vit(3, SIZE, patch=2, width=16, depth=1, heads=2, causal=causal) for _ in encoders)
    return cls(*towers, **small_settings(cls) | counted | settings)


def still_norms(module: nn.Module) -> None:
    """Batch norms use their running averages, so that every sample is computed by itself."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation inside makes."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.size = max([self.size, *(x.numel() for x in tree_leaves(made) if isinstance(x, Tensor))])
        return made
