"""What a method that decodes has learnt, in numbers: how far from real its reconstructions and drawn samples are."""

import math
from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from twinlens import checkpoint, discover, distributed
from twinlens.batch import Samples
from twinlens.data.load import Data
from twinlens.embed import clean_views, embed
from twinlens.encoders.contract import evaluating
from twinlens.errors import InputError
from twinlens.evaluate.result import Result, bootstrap
from twinlens.evaluate.two_sample import kid
from twinlens.method import Decodes, Generates
from twinlens.report.learnt import drawn
from twinlens.report.shows import drawable
from twinlens.run import Run
from twinlens.views.colour import pixels

MEAN, REAL, BEFORE = "mean training picture", "training pictures", "before training"
_SIDE, _GAP = 64, 2  # in a sheet: pixels on a side at least, and between pictures


@torch.no_grad()  # no inference mode: what the run loads within, it keeps
def reconstruction(run: Run, data: Data) -> Result:
    """The squared error of a number of a view, decoded from its code, over the clean views of the test part of `data`.

    Views lie in [-2, 2], 64 grey levels a unit. Beside it stands the same of the mean training picture. The interval is
    a bootstrap's, over test samples.

    Raises:
        InputError: where the method does not decode, or data has no test part.
    """
    method = run.model
    if not isinstance(method, Decodes):
        raise _lacks(run, Decodes, "decodes no codes")
    train, test = _parts(run, data)
    mean = torch.cat([view.double().sum(0, keepdim=True) for view in _views(run, train)]).sum(0) / len(train)
    errors = torch.cat(
        [
            torch.stack([_error(guess, view) for guess in (method.decode(method.code(view)), mean.to(view))])
            for view in _views(run, test)
        ],
        dim=1,
    )  # (2, M)
    settings = {"training": len(train), "test": len(test), "unit": "64 grey levels, squared"}
    found, guessed = (
        Result("reconstruction error", float(each.mean()), bootstrap(each), settings, share=False)
        for each in errors.cpu().numpy()
    )
    return found.beside({MEAN: guessed})


def _error(guess: Tensor, view: Tensor) -> Tensor:
    return (guess - view).square().flatten(1).mean(1)  # (N,)


@torch.no_grad()
def two_sample(run: Run, data: Data, features: nn.Module, *, count: int = 10_000, seed: int = 0) -> Result:
    """KID (twinlens.evaluate.two_sample) between samples that the method draws and real ones, as many of each.

    They are `count`, or as many as the test part of `data` has. `features` is a frozen encoder that sees both: one that
    something else has trained, or an untrained one. Beside it stand training pictures in place of drawn ones, which is
    as good as it gets, and what the method drew before training.

    Raises:
        InputError: where the method draws nothing, data has no test part, or `kid` refuses the features.
    """
    method, device = _drawing(run), distributed.device()
    train, test = (_spaced(part, count) for part in _parts(run, data))
    features = features.to(device)
    real, other = (embed(features, part, run.maker(), device=device) for part in (test, train))
    with evaluating(features):
        made, before = (
            torch.cat([features(view).float().cpu() for view in drawn(each, len(test), seed=seed, device=device)])
            for each in (method, _initial(run))
        )
    found, best, worst = (kid(real, some, seed=seed) for some in (made, other, before))
    return found.beside({REAL: best, BEFORE: worst})


@torch.no_grad()
def sheet(run: Run, *, count: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Samples that the method draws, the first `count` that come, as one picture (H, W, C), C being 1 or 3.

    Raises:
        InputError: where the method draws nothing, count is below 1, or what is drawn is no picture.
    """
    method = _drawing(run)
    if count < 1:
        raise InputError(f"count = {count}: expected at least 1 sample.")
    views = torch.cat([view.cpu() for view in drawn(method, count, seed=seed, device=distributed.device())])
    if not drawable(views):
        raise InputError(
            f"{run.method} draws views of shape {tuple(views.shape[1:])}: a sheet needs pictures (C, H, W) of 1 or 3 "
            f"channels; take what it draws in Python, from run.model."
        )
    pictures = pixels(views)  # (N, H, W, C)
    times = max(1, _SIDE // max(pictures.shape[1:3]))
    pictures = np.pad(
        pictures.repeat(times, axis=1).repeat(times, axis=2),
        ((0, 0), (0, _GAP), (0, _GAP), (0, 0)),
        constant_values=255,
    )
    n, height, width, channels = pictures.shape
    across = math.isqrt(n - 1) + 1
    down = -(-n // across)
    whole = np.full((down * across, height, width, channels), 255, dtype=np.uint8)
    whole[:n] = pictures
    rows = whole.reshape(down, across, height, width, channels).swapaxes(1, 2)
    return rows.reshape(down * height, across * width, channels)[:-_GAP, :-_GAP]


def _drawing(run: Run) -> Generates:
    method = run.model
    if isinstance(method, Generates):
        return method
    raise _lacks(run, Generates, "draws no samples")


def _lacks(run: Run, kind: type, what: str) -> InputError:
    able = [name for name, cls in discover.methods().items() if issubclass(cls, kind)]
    return InputError(f"{run.method} {what}: train one of the methods that do, {', '.join(able)}.")


def _initial(run: Run) -> Generates:
    """The method as it was before the first step, in evaluation mode."""
    encoder = deepcopy(run.new_encoder(run.facts["data"]["sizes"]))  # one that was given is run.model's too
    encoder.load_state_dict(checkpoint.read(run.folder / "untrained.safetensors")[0])
    method = run.new_method(encoder, int(run.facts["data"]["samples"])).to(distributed.device()).eval()
    assert isinstance(method, Generates)
    return method


def _parts(run: Run, data: Data) -> tuple[Samples, Samples]:
    split = run.read(data)
    if split.test is None:
        raise InputError(
            f"{split.train.name} has no test part, which the method cannot have seen: give the folders train and test, "
            f"or an .npz with x_test."
        )
    return split.train, split.test


def _spaced(pictures: Samples, count: int) -> Samples:
    """At most `count` of them, evenly spaced."""
    return pictures.subset(torch.linspace(0, len(pictures) - 1, min(count, len(pictures))).long())


def _views(run: Run, pictures: Samples) -> Iterator[Tensor]:
    return clean_views(pictures, run.maker(), device=distributed.device())
