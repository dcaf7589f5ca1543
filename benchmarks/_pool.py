"""Runs whose outcome is known by its cause: healthy ones, and ones broken on purpose. Two benchmarks share them.

Each is trained as any run is, by `twinlens.pretrain`, on Fashion-MNIST (10,000 of its training pictures) or on the
digits; what is broken is a setting, or a line of the method that is replaced while it trains.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import _record
import numpy as np
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from twinlens import discover
from twinlens.data.load import load as load_data
from twinlens.errors import NotLearning
from twinlens.fit import pretrain
from twinlens.method import Method
from twinlens.monitor.verdict import CLUSTER, COMPLETE, DIMENSIONAL, DIVERGED, LEARNING, SHORTCUT, STALLED
from twinlens.recipes import find
from twinlens.run import Run, load

TINTED = "tinted"
PICTURES = 10_000  # of Fashion-MNIST, to learn from; a fifth as many to judge by
SHORT = {"epochs": 6}
DIGITS = {"epochs": 15, "batch": 128, "hidden": 256, "small_views": 2, "small_size": 4}
PLAYED = {"epochs": 8, "batch": 128, "rate": 1e-3, "cycle": 1.0, "min_scale": 0.8}  # against a discriminator
GIVEN_AWAY = {"jitter": 0.0, "grey": 0.0, "blur": 0.0}  # colours tell which sample a view is of


@dataclass(frozen=True)
class Case:
    """A run by its cause. `words` are the verdicts that are right for it, `cause` says why in a few words."""

    cause: str
    words: tuple[str, ...]
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = "fashion-mnist"
    broken: Callable[[type[Method]], dict[str, Any]] | None = None
    samples: int = PICTURES

    @property
    def name(self) -> str:
        return f"{self.method} on {self.data}, {self.cause}".replace(" ", "-").replace(",", "")


def _no_stopped_gradient(cls: type[Method]) -> dict[str, Any]:
    def compare(self: Method, p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        return -(cosine_similarity(p1, z2).mean() + cosine_similarity(p2, z1).mean()) / 2

    return {"compare": compare}


def _no_predictor(cls: type[Method]) -> dict[str, Any]:
    first: Any = cls.__init__

    @functools.wraps(first)
    def init(self: Any, *arguments: Any, **settings: Any) -> None:
        first(self, *arguments, **settings)
        self.predict = nn.Identity()

    return {"__init__": init}


def _softmax_codes(cls: type[Method]) -> dict[str, Any]:
    first: Any = cls.compare

    def softmax(scores: Tensor, *, epsilon: float, iterations: int) -> Tensor:
        return (scores / epsilon).softmax(dim=1)

    def compare(self: Method, *parts: Tensor) -> Tensor:
        with mock.patch("twinlens.methods.swav.sinkhorn", softmax):
            loss: Tensor = first(self, *parts)
        return loss

    return {"compare": compare}


def _unbounded(cls: type[Method]) -> dict[str, Any]:
    first: Any = cls.__init__

    @functools.wraps(first)
    def init(self: Any, *arguments: Any, **settings: Any) -> None:
        with mock.patch("twinlens.heads.spectral.spectral", lambda layer: layer):
            first(self, *arguments, **settings)

    return {"__init__": init}


def _one_drawing(cls: type[Method]) -> dict[str, Any]:
    first: Any = cls.__dict__["decode"]

    def decode(self: Method, code: Tensor) -> Tensor:
        drawn: Tensor = first(self, 0 * code)
        return drawn

    return {"decode": decode}


class Asked(NamedTuple):
    """What a benchmark over the pool was asked for: cases, seeds, where runs are kept, and where the result goes."""

    cases: list[Case]
    seeds: range
    folder: Path
    out: Path | None


def arguments(text: str | None) -> Asked:
    """The command line of a benchmark over the pool; `text` is the script's docstring."""
    parser = _record.parser(text)
    parser.add_argument("--runs", type=Path, help="where runs are kept (default: runs/benchmarks/pool)")
    parser.add_argument("--seeds", type=int, default=2)
    given = _record.parsed(parser)
    if given.smallest:
        return Asked(smallest(), range(1), given.runs or given.out / "runs", given.out)
    return Asked(cases(), range(given.seeds), given.runs or Path("runs/benchmarks/pool"), given.out)


def cases() -> list[Case]:
    """Every case; each is run with as many seeds as are asked for."""
    return [*_healthy(), *_collapsing(), *_otherwise()]


def smallest() -> list[Case]:
    """A few cases that take seconds."""
    short = {"epochs": 3}
    found = [case for case in cases() if case.data == "digits" and case.method in ("simclr", "vicreg", "barlowtwins")]
    return [replace(case, settings=case.settings | short) for case in found]


def _healthy() -> Iterator[Case]:
    for method in discover.methods():
        epochs = {"byol": 12, "mae": 12, "ibot": 3}.get(method, 6)
        yield Case("healthy", (LEARNING,), method, PLAYED if method == "bigan" else {"epochs": epochs})
    for method in ("simclr", "vicreg", "barlowtwins", "simsiam"):
        narrow = {"dim": 256, "bottleneck": 64} if method == "simsiam" else {}
        yield Case("healthy", (LEARNING,), method, DIGITS | narrow, "digits")


def _collapsing() -> Iterator[Case]:
    point, line = (COMPLETE,), (DIMENSIONAL,)
    either = (COMPLETE, DIMENSIONAL)  # on its way to a point it is a line
    narrow = DIGITS | {"dim": 256, "bottleneck": 64}
    yield Case("no stopped gradient", either, "simsiam", SHORT, broken=_no_stopped_gradient)
    yield Case("no stopped gradient", either, "simsiam", narrow, "digits", _no_stopped_gradient)
    yield Case("no predictor", point, "byol", SHORT | {"momentum": 0.9}, broken=_no_predictor)
    yield Case("no predictor", point, "byol", DIGITS | {"dim": 64, "momentum": 0.9}, "digits", _no_predictor)
    yield Case("no variance", point, "vicreg", SHORT | {"variance": 0.0})
    yield Case("no variance", point, "vicreg", DIGITS | {"variance": 0.0}, "digits")
    yield Case("no Gaussian", point, "lejepa", SHORT | {"trade_off": 0.0})
    yield Case("no Gaussian", point, "lejepa", DIGITS | {"trade_off": 0.0}, "digits")
    yield Case("no sharpening", point, "dino", SHORT | {"teacher_temperature": (1.0, 1.0)})
    yield Case("codes too smooth", point, "swav", SHORT | {"epsilon": 10.0})
    yield Case("no centring", (COMPLETE, CLUSTER), "dino", SHORT | {"center_momentum": 1.0})
    yield Case("no even assignment", (COMPLETE, CLUSTER), "swav", SHORT, broken=_softmax_codes)
    yield Case("no covariance", line, "vicreg", SHORT | {"covariance": 0.0})
    yield Case("no redundancy", line, "barlowtwins", SHORT | {"redundancy": 0.0})
    # On the digits these two, after 60 epochs, have a tenth of their dimensions left: as many as SimSiam that is whole.
    few = (COMPLETE, CLUSTER)
    yield Case("codes are ignored", point, "bigan", PLAYED | {"cycle": 0.0}, broken=_one_drawing)
    yield Case("momentum of 0.9", few, "bigan", PLAYED | {"cycle": 0.0, "momentum": 0.9})
    yield Case("nothing but the prior", few, "vae", {"epochs": 3, "beta": 100.0, "decay": 0.0})
    yield Case(
        "discriminator too strong", (*few, STALLED), "bigan", PLAYED | {"discriminator_rate": 20.0}, broken=_unbounded
    )


def _otherwise() -> Iterator[Case]:
    for method in ("simclr", "byol", "vicreg", "swav", "mae"):
        yield Case("rate too low", (STALLED,), method, SHORT | {"rate": 1e-8})
    for method in ("simclr", "vicreg", "mocov2", "byol"):
        yield Case("rate too high", (DIVERGED,), method, SHORT | {"rate": 30.0})
    for method in ("simclr", "mae"):
        yield Case("sgd's rate too high", (DIVERGED,), method, SHORT | {"optimizer": "sgd", "rate": 1e4})
    for method in ("simclr", "mocov2", "nnclr", "vicreg", "barlowtwins"):
        yield Case("colours give samples away", (SHORTCUT,), method, SHORT | GIVEN_AWAY, TINTED)
    for method in ("simclr", "vicreg"):
        yield Case("few data", (LEARNING,), method, {"epochs": 200, "batch": 64}, samples=300)


def run(case: Case, seed: int, folder: Path) -> Run | None:
    """The case's run, trained unless it is there; None if the loss stopped being a number, which ends a run."""
    path = folder / f"{case.name}-{seed}"
    stopped = path.with_suffix(".stopped")
    if not stopped.exists() and not (path / "encoder.safetensors").exists():
        recipe = find("fashion_mnist", case.method) if case.data != "digits" else None
        with _broken(discover.method(case.method), case):
            try:
                pretrain(
                    data(case, folder), case.method, recipe=recipe, seed=seed, out=path, resume=path.exists(),
                    save_every=1e9, **case.settings,
                )  # fmt: skip
            except NotLearning as error:
                stopped.write_text(str(error))
    return None if stopped.exists() else load(path)


def data(case: Case, folder: Path) -> str:
    """What the case learns from: a known name, or a file of part of Fashion-MNIST, its test part from training too."""
    if case.data == "digits":
        return case.data
    path = folder / f"{case.data}-{case.samples}.npz"
    if not path.exists():
        train = load_data("fashion-mnist").train
        pixels, y = train.pixels[..., 0].numpy(), train.labels
        assert y is not None
        if case.data == TINTED:  # every picture in a light of its own, which no crop or flip takes from it
            light = np.random.default_rng(0).uniform(0.2, 1, (len(pixels), 1, 1, 3))
            pixels = ((pixels[..., None] / 2 + 127) * light).astype(np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        rest = slice(-PICTURES // 5, None)
        np.savez(path, x_train=pixels[: case.samples], y_train=y[: case.samples], x_test=pixels[rest], y_test=y[rest])
    return str(path)


@contextlib.contextmanager
def _broken(cls: type[Method], case: Case) -> Iterator[None]:
    """The method with the case's lines in the place of its own, for as long as it trains."""
    changes = {} if case.broken is None else case.broken(cls)
    kept = {name: cls.__dict__[name] for name in changes}
    for name, value in changes.items():
        setattr(cls, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(cls, name, value)
