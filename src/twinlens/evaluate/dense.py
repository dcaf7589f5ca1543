"""What a frozen encoder says of each place of a scene, for layers that name pixels or find objects by it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens import random
from twinlens.data.scenes import Scenes
from twinlens.encoders.contract import TokenEncoder, evaluating
from twinlens.errors import InputError
from twinlens.update.optimizers import optimizer
from twinlens.update.schedules import warmup_cosine

NOTHING_CHOSEN = "nothing: settings are fixed, the last weights are judged"
_AT_ONCE = 64  # scenes that are encoded together
_WARMUP = 0.05  # share of the training of a head
_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d, nn.LPPool2d)


class RawPatches(nn.Module):
    """Pixels as features, what an encoder has to beat: (N, C, H, W) -> (N, C P P, H / P, W / P), P the patch's side."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, view: Tensor) -> Tensor:
        if any(length % self.patch for length in view.shape[2:]):
            height, width = view.shape[2:]
            raise InputError(
                f"patch = {self.patch}: expected a divisor of the scene's {height} x {width} pixels; choose one."
            )
        return F.pixel_unshuffle(view, self.patch)


def patch_features(encoder: nn.Module, views: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Features of places (N, T, D), row by row, and their rows and columns, T in all, of views (N, C, H, W).

    They are the tokens of a `TokenEncoder`. Of any other module they are its last feature map before it is pooled: the
    last output (N, D, H', W') of a module within the encoder, or of itself, that is not that of a pooling module, has
    more than one place, and is as wide for its height as the view. So a ResNet gives the output of its last stage.
    Places are taken to be spread evenly over the view; those of strided convolutions lie up to half a stride before.

    The encoder runs in evaluation mode, without gradient, and is handed back in the modes it came in.

    Raises:
        InputError: where the encoder gives neither, or cannot encode views of that shape.
    """
    with evaluating(encoder), torch.no_grad():
        return _tokens(encoder, views) if isinstance(encoder, TokenEncoder) else _map(encoder, views)


def maps(encoder: nn.Module, train: Scenes, test: Scenes) -> tuple[Tensor, Tensor]:
    """Frozen features of both parts, (N, D, rows, columns) and (M, D, rows, columns), on the encoder's device.

    Each of the D is standardised by its mean and deviation over all places of the training part; what is constant there
    becomes zero. Scenes are seen as `ImageViews.clean` shows pictures of their size.

    Raises:
        InputError: as `patch_features` does, and where the parts do not fit together, a feature is not finite, or all
            are constant.
    """
    for name, one, other in (
        ("shape", tuple(train.pixels.shape[1:]), tuple(test.pixels.shape[1:])),
        ("classes", train.classes, test.classes),
    ):
        if one != other:
            raise InputError(f"training scenes have {name} {one}, test scenes {other}: compose both alike.")
    x, z = _encoded(encoder, train), _encoded(encoder, test)
    if bad := sum(int((~part.flatten(1).isfinite()).any(1).sum()) for part in (x, z)):
        raise InputError(f"features of {bad} of {len(x) + len(z)} scenes are not finite: the encoder has diverged.")
    std, mean = torch.std_mean(x, dim=(0, 2, 3), correction=0, keepdim=True)  # (1, D, 1, 1)
    constant = std <= 1e-5 * mean.abs()  # rounding leaves a little
    if constant.all():
        raise InputError(
            f"all {x.shape[1]} features are the same everywhere: the encoder has collapsed, train it anew."
        )
    scale = torch.where(constant, 0, 1 / std)
    return x.sub_(mean).mul_(scale), z.sub_(mean).mul_(scale)


def learn(
    head: nn.Module, loss: Callable[[Tensor], Tensor], count: int, *, epochs: int, batch: int, rate: float, seed: int
) -> None:
    """Trains a head on `count` scenes: `loss` gives that of the scenes at `rows` (n,), on the processor.

    AdamW with decay 0.01 (its authors' default), the rate warmed up, then along a cosine down to 0. Every scene is seen
    once in an epoch, in the order that `seed` draws.
    """
    for name, value, good, expected in (
        ("epochs", epochs, epochs >= 1, "1 or more"),
        ("batch", batch, batch >= 1, "1 or more"),
        ("rate", rate, 0 < rate < math.inf, "a number above 0"),
    ):
        if not good:
            raise InputError(f"{name} = {value}: expected {expected}.")
    moved = optimizer("adamw", head, rate=rate, decay=0.01)
    batches = [rows for epoch in range(epochs) for rows in random.permutation(count, seed, epoch).split(batch)]
    for step, rows in enumerate(batches):
        for group in moved.param_groups:
            group["lr"] = rate * warmup_cosine((step + 0.5) / len(batches), warmup=_WARMUP)
        moved.zero_grad()
        loss(rows).backward()
        moved.step()
    if not all(parameter.isfinite().all() for parameter in head.parameters()):
        raise InputError(f"rate = {rate}: training diverged, no number is left to judge; choose a lower rate.")


def resampled(
    measure: Callable[[NDArray[np.int64]], float], scenes: int, *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a measure in [0, 1] over scenes, given how often each of them counts, (M,).

    Percentiles, moved by what the mean of the draws differs from the measure: a draw repeats scenes, and the highest
    precision at a recall or above it, or a mean over the classes that are there, is then higher. Draws for which the
    measure does not exist (NaN: scenes without objects) are left out.
    """
    drawn = np.random.default_rng(seed)
    times = (np.bincount(drawn.integers(scenes, size=scenes), minlength=scenes) for _ in range(resamples))
    values = np.array([measure(each) for each in times])
    bias = np.nanmean(values) - measure(np.ones(scenes, dtype=np.int64))
    low, high = (np.nanquantile(values, (0.025, 0.975)) - bias).clip(0, 1)
    return float(low), float(high)


def described(x: Tensor, test: Scenes, **settings: Any) -> dict[str, Any]:
    """The settings of a result: what heads were given, (N, D, rows, columns), and how they learnt."""
    features = f"{x.shape[1]} at each of {x.shape[2]} x {x.shape[3]} places, frozen"
    parts = {"features": features, "training scenes": len(x), "test scenes": len(test)}
    return settings | parts | {"chosen on": NOTHING_CHOSEN}


def _encoded(encoder: nn.Module, scenes: Scenes) -> Tensor:
    """(N, D, rows, columns) float32."""
    device = next((parameter.device for parameter in encoder.parameters()), torch.device("cpu"))
    parts = []
    for pixels in scenes.pixels.split(_AT_ONCE):
        views = pixels.to(device).permute(0, 3, 1, 2).float().mul_(4 / 255).sub_(2)  # as in views/colour.py
        features, grid = patch_features(encoder, views.contiguous())
        parts.append(features.float().mT.unflatten(2, grid))
    return torch.cat(parts)


def _tokens(encoder: TokenEncoder, views: Tensor) -> tuple[Tensor, tuple[int, int]]:
    _, channels, height, width = views.shape
    patch = max(1, math.isqrt(encoder.patch_dim // channels))
    if channels * patch**2 != encoder.patch_dim:
        raise InputError(
            f"scenes have {channels} channels, but the encoder's patches hold {encoder.patch_dim} numbers: expected "
            "scenes of its channels; compose them from pictures `with_channels`."
        )
    if height % patch or width % patch:
        raise InputError(
            f"scenes of {height} x {width} pixels cannot be cut into the encoder's patches of {patch} x {patch}: "
            "expected a multiple; compose scenes of another side."
        )
    grid = height // patch, width // patch
    features = encoder.tokens(views)
    if features.shape[:2] != (len(views), grid[0] * grid[1]):
        raise InputError(
            f"{type(encoder).__name__} gives tokens {tuple(features.shape)} for {grid[0]} x {grid[1]} patches: expected"
            " one for each patch and no other; leave out what is none of a patch (a class token)."
        )
    return features, grid


def _map(encoder: nn.Module, views: Tensor) -> tuple[Tensor, tuple[int, int]]:
    count, _, height, width = views.shape
    found: list[Tensor] = []  # the last output that has places, and the last one of a pooling module
    pooled: list[Tensor] = []

    def look(module: nn.Module, _: Any, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != count:
            return
        if isinstance(module, _POOLS):
            pooled[:] = [output]
        elif not (pooled and output is pooled[0]) and output[0, 0].numel() > 1:
            found[:] = [output]

    hooks = [module.register_forward_hook(look) for module in encoder.modules()]
    try:
        encoder(views)
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        shape, reason = tuple(views.shape), str(error).strip().splitlines()[0]
        raise InputError(f"{type(encoder).__name__} cannot encode scenes of shape {shape}: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()
    last = found[0] if found else None
    # tokens (N, T, D), channels last (N, H, W, D) and an attention's (N, heads, T, D) are no maps of the view
    if last is None or last.ndim != 4 or abs(last.shape[2] * width - last.shape[3] * height) >= max(height, width):
        raise InputError(
            f"{type(encoder).__name__} gives no features of places: expected tokens, as of TokenEncoder, or a last "
            "feature map (N, D, H, W), as of a convolutional network; wrap it in a module that returns such a map."
        )
    return last.flatten(2).mT, (last.shape[2], last.shape[3])
