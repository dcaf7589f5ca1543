"""Colour changes as one 3x3 matrix and one bias for each picture.

Chroma is a plane: saturation scales it, hue turns it, grey is saturation 0. In YIQ each is linear, the form that NVIDIA
DALI's color_twist uses too, where hue by way of HSV is not. With luma w, L = 1 w^T and Q the quarter turn of the plane,
all in RGB, brightness b, contrast c, saturation s and hue h compose, in this order, to

    x -> c b (L + s cos(h) (I - L) + s sin(h) Q) x + (1 - c) b mean(w^T x)

since L, I - L and Q map grey to grey or to nothing. There is one clamp, at the end; Pillow clamps after each operation.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)  # ITU-R BT.601, as Pillow's convert("L")
_IQ = torch.tensor([[0.74, 0, -0.27], [0.48, 0, 0.41]], dtype=torch.float64)  # of (R - Y, G - Y, B - Y), 47 CFR 73.682


def _chroma_maps() -> tuple[Tensor, Tensor, Tensor]:
    """L, I - L and Q, each (3, 3); Q turns from red towards yellow, as a rising hue does."""
    identity = torch.eye(3, dtype=torch.float64)
    grey = _LUMA.expand(3, 3)
    to_yiq = torch.cat((_LUMA[None], _IQ @ (identity - grey)))
    turn = torch.tensor([[0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    return grey.float(), (identity - grey).float(), (to_yiq.inverse() @ turn @ to_yiq).float()


_GREY, _CHROMA, _TURNED = _chroma_maps()
_SCALE, _CENTRE = 4 / 255, -2.0
"""Grey levels to the range of a view: (x / 255 - 0.5) / 0.25, near zero mean and unit deviation for photographs (a
quarter of the range is the deviation of CIFAR-10 and of ImageNet) whatever the data set, and 0 is middle grey."""


def colour_map(colour: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The matrix (N, C, C) for grey levels, and the weight (N, C) of each channel's mean in the bias.

    `colour` (N, 4) is brightness, contrast and saturation, factors as in Pillow's ImageEnhance, and hue in turns.
    Pictures of one channel have no chroma: of the matrix c b is left.
    """
    brightness, contrast, saturation, hue = colour[..., None].unbind(1)  # (N, 1)
    gain = _SCALE * brightness
    if channels == 1:
        return (gain * contrast)[..., None], gain * (1 - contrast)
    grey, chroma, turned = (part.to(colour.device) for part in (_GREY, _CHROMA, _TURNED))
    angle = 2 * math.pi * hue[..., None]
    matrix = grey + saturation[..., None] * (angle.cos() * chroma + angle.sin() * turned)  # (N, 3, 3)
    return (gain * contrast)[..., None] * matrix, gain * (1 - contrast) * grey[0]


def recolour(x: Tensor, matrix: Tensor, weight: Tensor, out: Tensor) -> None:
    """Pictures (N, C, H, W) in grey levels [0, 255], changed by a `colour_map` -> `out`, the same shape in [-2, 2]."""
    level = x.mean(3).mean(2)  # (N, C), in two steps: one long sum would be split differently where N is 1
    bias = (weight * level).sum(1).add_(_CENTRE)[:, None, None]
    to = out.flatten(2)
    if x.shape[1] == 1:  # as a product of matrices it is rounded differently where N is 1, on some processors
        torch.mul(matrix, x.flatten(2), out=to).add_(bias)
    else:
        torch.baddbmm(bias, matrix, x.flatten(2), out=to)
    to.clamp_(-2, 2)


def solarize(x: Tensor, chosen: Tensor) -> Tensor:
    """Inverts what is brighter than middle grey in the `chosen` (N,) pictures (N, C, H, W) of [-2, 2]."""
    return torch.where(chosen[:, None, None, None], -x.abs(), x)


def pixels(view: Tensor) -> NDArray[np.uint8]:
    """A view (N, C, H, W) in [-2, 2] as a picture again: (N, H, W, C) in grey levels."""
    levels = ((view - _CENTRE) / _SCALE).round().clamp(0, 255)
    return levels.byte().permute(0, 2, 3, 1).cpu().numpy()
