"""CIE Lab, in which lightness and colour are apart and distances are about those that people see.

From sRGB (IEC 61966-2-1) by way of XYZ under the illuminant D65: white is (100, 0, 0), and greys have no a, b.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    dtype=torch.float64,
)
_TO_XYZ = _XYZ / _XYZ.sum(1, keepdim=True)  # of white each is 1
_FROM_XYZ = _TO_XYZ.inverse()
_LAB = torch.tensor([[0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=torch.float64)  # of cube roots; L less 16
_FROM_LAB = _LAB.inverse()
_KNEE = 6 / 29  # below, the cube root is a line


def lab(rgb: Tensor) -> Tensor:
    """sRGB in [0, 1] -> L in [0, 100], a and b: (N, 3, ...) each."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).clamp_min(0) ** 2.4)
    share = _mix(_TO_XYZ, linear)
    root = torch.where(share > _KNEE**3, share.clamp_min(_KNEE**3) ** (1 / 3), share / (3 * _KNEE**2) + 4 / 29)
    return _mix(_LAB, root) - _offset(root)


def srgb(lab: Tensor) -> Tensor:
    """L, a, b -> sRGB in [0, 1], the nearest in each channel where there is no such colour: (N, 3, ...) each."""
    root = _mix(_FROM_LAB, lab + _offset(lab))
    linear = _mix(_FROM_XYZ, torch.where(root > _KNEE, root**3, 3 * _KNEE**2 * (root - 4 / 29))).clamp(0, 1)
    rgb: Tensor = torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    )
    return rgb


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("ij,nj...->ni...", matrix.to(x), x)


def _offset(x: Tensor) -> Tensor:
    return x.new_tensor([16.0, 0.0, 0.0]).view(3, *[1] * (x.ndim - 2))


@cache
def bins(width: int = 10) -> NDArray[np.float32]:
    """The middles (K, 2) of those squares of the a, b plane, `width` wide, in which some colour of sRGB lies.

    They are found by every fifth grey level of each channel: K = 260 squares of 10. Zhang et al. 2016 count 313 (arXiv
    1603.08511, section 2.1), among them some that no colour of sRGB is in.
    """
    levels = torch.linspace(0, 1, 52, dtype=torch.float64)
    colours = lab(torch.cartesian_prod(levels, levels, levels))  # (52^3, 3)
    found: NDArray[np.float32] = (width * (colours[:, 1:] / width).round().unique(dim=0)).float().numpy()
    return found


def middles(like: Tensor) -> Tensor:
    """The `bins` (K, 2), where and of what kind `like` is."""
    return torch.from_numpy(bins()).to(like)
