"""The way from one code to another, and what real samples lie along it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from twinlens.errors import InputError
from twinlens.latent.gallery import Codes, Decoder, as_code, as_gallery, decoded, nearest

_OPPOSITE = 1e-6  # radians: closer to opposite than float32 tells


@dataclass(frozen=True, eq=False)
class Path:
    """Points (S, D), the index (S,) of the real sample nearest to each and its cosine (S,), and what they decode to."""

    codes: Tensor
    index: Tensor
    similarity: Tensor
    decoded: Tensor | None


def interpolate(
    a: Codes, b: Codes, gallery: Codes, *, steps: int = 9, spherical: bool = True, decode: Decoder | None = None
) -> Path:
    """`steps` points from code `a` (D,) to code `b` (D,), both included, with the nearest of `gallery` (M, D) to each.

    Spherical by default: nearness is by cosine, and encoders that are trained by cosine have no codes inside the
    sphere, where straight lines lead. `decode` takes codes (S, D).

    Raises:
        InputError: where shapes do not fit, a code is not finite, steps are below 2, or a direction is not defined.
    """
    bank = as_gallery(gallery)
    start, end = as_code("a", a, bank), as_code("b", b, bank)
    codes = (slerp if spherical else lerp)(start, end, steps)
    index, similarity = nearest(codes, bank)
    return Path(codes, index, similarity, decoded(codes, decode))


def lerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Evenly spaced on the straight line: (D,) and (D,) -> (S, D), a first, b last."""
    return ((1 - _times(steps, a)) * a.double() + _times(steps, a) * b.double()).to(a.dtype)


def slerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Evenly spaced in angle on the shorter great circle, their lengths on a line: (D,) and (D,) -> (S, D).

    Parallel codes leave only lengths to change. Between opposite codes all great circles are equally short: the one is
    taken that leads over the axis nearest to orthogonal to `a`, of several the first, towards its positive end. After
    Shoemake 1985, "Animating rotation with quaternion curves", by an orthonormal pair, hence without division by the
    sine of the angle.

    Raises:
        InputError: where a code is zero, which has no direction, or has one dimension, where there is no circle.
    """
    lengths = torch.stack((a.double().norm(), b.double().norm()))
    if len(a) < 2 or not lengths.all():
        zero = "codes have one dimension" if len(a) < 2 else f"code {'a' if not lengths[0] else 'b'} is zero"
        raise InputError(f"{zero}: expected codes with directions to turn between; interpolate with spherical=False.")
    u, v = a.double() / lengths[0], b.double() / lengths[1]
    across = v - (u @ v) * u
    angle = torch.atan2(across.norm(), u @ v)
    if angle > torch.pi - _OPPOSITE:
        axis = torch.zeros_like(u)
        axis[u.abs().argmin()] = 1
        across, angle = axis - (u @ axis) * u, torch.full_like(angle, torch.pi)
    across = across / across.norm().clamp_min(torch.finfo(torch.float64).tiny)
    t = _times(steps, a)  # (S, 1)
    points: Tensor = (lengths[0].lerp(lengths[1], t)) * ((t * angle).cos() * u + (t * angle).sin() * across)
    return points.to(a.dtype)


def _times(steps: int, like: Tensor) -> Tensor:
    if steps < 2:
        raise InputError(f"steps = {steps}: expected 2 or more, as both ends are among them.")
    return torch.linspace(0, 1, steps, dtype=torch.float64, device=like.device)[:, None]
