"""Small things that several tests need: samples, views and an encoder that run in milliseconds."""

import inspect
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from twinlens import discover, random
from twinlens.batch import PAD, Maker, Raw, Samples, Views
from twinlens.cli.main import run as command
from twinlens.encoders.contract import CausalEncoder, WordEncoder
from twinlens.encoders.sequence import words
from twinlens.encoders.vit import vit
from twinlens.feed import Feed
from twinlens.method import Method
from twinlens.views.tasks import TASKS

M = TypeVar("M", bound=nn.Module)
SIZE = 8
VOCABULARY, LENGTH = 11, 9


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

    def subset(self, index: Tensor) -> "Noise":
        part = Noise(0)
        part.pixels, part.labels = self.pixels[index], self.labels[index.numpy()]
        return part

    @property
    def sizes(self) -> dict[str, int]:
        return {"channels": 3}

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes

    def to(self, device: torch.device | str) -> "Noise":
        return self


class Babble(Samples):
    """Texts of nothing: (N, LENGTH) ids of VOCABULARY words, each of its own length; in four classes of nothing."""

    name, modality, fingerprint = "babble", "text", "1"

    def __init__(self, count: int, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(VOCABULARY, (count, LENGTH), generator=draw)
        self.lengths = torch.randint(2, LENGTH + 1, (count,), generator=draw)
        self.ids[torch.arange(LENGTH) >= self.lengths[:, None]] = PAD
        self.labels = np.arange(count) % 4

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> Raw:
        return (self.ids[index],)

    def subset(self, index: Tensor) -> "Babble":
        part = Babble(0)
        part.ids, part.lengths, part.labels = self.ids[index], self.lengths[index], self.labels[index.numpy()]
        return part

    @property
    def sizes(self) -> dict[str, int]:
        return {"vocabulary": VOCABULARY}

    @property
    def nbytes(self) -> int:
        return self.ids.nbytes

    def to(self, device: torch.device | str) -> "Babble":
        return self


class Shaken(Maker):
    """A view is the sample plus counted noise."""

    takes = 1

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        plain = self.clean(raw)
        count = views.large + views.small
        return tuple(plain + 0.5 * random.normal(random.fold(key, v), *plain.shape[1:]) for v in range(count))

    def clean(self, raw: Raw) -> Tensor:
        return raw[0].permute(0, 3, 1, 2).float() / 64 - 2

    @property
    def sizes(self) -> dict[str, int]:
        return {"size": SIZE}


class Misspelt(Maker):
    """A view is the text with some of its words exchanged."""

    takes = 1

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        return tuple(self._exchanged(raw[0], random.fold(key, v)) for v in range(views.large + views.small))

    def _exchanged(self, ids: Tensor, key: Tensor) -> Tensor:
        chance, word = random.uniform(key, 2, ids.shape[1]).unbind(1)
        return ids.where((chance > 0.2) | (ids < 0), (word * VOCABULARY).long())

    def clean(self, raw: Raw) -> Tensor:
        return raw[0]

    @property
    def sizes(self) -> dict[str, int]:
        return {"length": LENGTH}


def reads(method: Method | type[Method]) -> bool:
    """Whether a method takes texts and nothing else."""
    return discover.encoder_kind(method if isinstance(method, type) else type(method)) is WordEncoder


def feed(method: Method | type[Method], *, samples: int = 24, batch: int = 12, micro_batches: int = 1) -> Feed:
    return Feed(
        Babble(samples) if reads(method) else Noise(samples),
        Misspelt() if reads(method) else Shaken(),
        method.views,
        batch=batch,
        micro_batches=micro_batches,
        seed=0,
        device=torch.device("cpu"),
    )


def small_settings(target: Any) -> dict[str, Any]:
    """A target's settings with every width and depth cut down to 16 at most."""
    settings = {name: min(value, 16) for name, value in discover.settings(target).items() if type(value) is int}
    return settings | ({"classes": 4} if "classes" in settings else {})  # as many as the samples above have


def variants(cls: type[Method]) -> list[dict[str, Any]]:
    """The settings that make a method another one: each task, objective or loss of one that has them; else none."""
    hints = get_type_hints(cls.__init__)
    words = {name: get_args(hints[name]) for name in ("objective", "loss") if name in discover.settings(cls)}
    if "task" in discover.settings(cls):
        words["task"] = tuple(TASKS)
    return [{name: value} for name, values in words.items() for value in values] or [{}]


def build(cls: type[Method], seed: int = 0, samples: int = 24, **settings: Any) -> Method:
    """A method at toy size over an encoder without batch statistics, the same for the same seed."""
    torch.manual_seed(seed)
    counted = {"samples": samples} if discover.counts_samples(cls) else {}
    encoders = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    causal = discover.encoder_kind(cls) is CausalEncoder
    small: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "causal": causal}
    towers = [
        awake(words(VOCABULARY, LENGTH, dropout=0.0, **small)) if reads(cls) else vit(3, SIZE, patch=2, **small)
        for _ in encoders
    ]
    return cls(*towers, **small_settings(cls) | counted | settings)


def awake(module: M) -> M:
    """Draws the weights that begin at zero, so that what they stand behind is seen."""
    for p in module.parameters():
        if p.ndim > 1 and not p.any():
            nn.init.xavier_uniform_(p)
    return module


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


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence a bad command line is answered with."""
    capsys.readouterr()
    assert command(list(arguments)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("twinlens: ") and "Traceback" not in "".join(said)
    return said[-1]
