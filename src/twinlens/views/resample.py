"""Crop, resize, flip and blur as one linear map per axis: view = A_y X A_x^T, each A built by tensor arithmetic.

Resizing is Pillow's antialiased bilinear filter: a triangle whose support grows with the scale where pixels are lost
(Heckbert 1989, "Fundamentals of texture mapping and image warping", section 3.5). A flip reverses the rows of A_x. A
blur is a band matrix times A, cheaper on A than on pixels. An output tile of 32 pixels needs only a band of the input,
so large pictures are tiles of small products: at 224 pixels a third of the arithmetic of the dense product.
"""

import math

import torch
from torch import Tensor

_TILE = 32  # measured at 224 pixels: 28 and 56 are slower
_TRIES = 10
DRAWS = 2 * _TRIES + 2
"""How many uniform numbers a random box takes."""


def random_box(draws: Tensor, aspect: Tensor, area: tuple[float, float]) -> Tensor:
    """Boxes (N, 4) of left, top, width and height as shares of the picture, from `draws` (N, DRAWS) in [0, 1).

    Area, as a share of the picture's, is uniform in `area` and log(width / height), in the geometry of the original
    picture, is uniform in ±log(4/3) (Szegedy et al. 2015, "Going deeper with convolutions", section 6). Of ten such
    draws the first that fits is placed uniformly; if none fits, as in very wide or tall pictures, the box is the
    largest central one of an allowed shape (both as in torchvision, which redraws where we draw ten at once).
    """
    tries, place = draws[:, :-2].view(-1, 2, _TRIES), draws[:, -2:]
    share = area[0] + (area[1] - area[0]) * tries[:, 0]  # (N, tries)
    shape = ((2 * tries[:, 1] - 1) * math.log(4 / 3)).exp() / aspect[:, None]  # width / height after the squash
    extent = torch.stack((share * shape, share / shape), 1).sqrt()  # (N, 2, tries)
    fits = (extent <= 1).all(1)
    first = (fits * torch.arange(_TRIES, 0, -1, device=fits.device)).argmax(1)
    extent = extent.gather(2, first[:, None, None].expand(-1, 2, 1)).squeeze(2)  # (N, 2)
    found = fits.any(1, keepdim=True)
    extent = torch.where(found, extent, central_box(aspect, (3 / 4, 4 / 3))[:, 2:])
    return torch.cat((torch.where(found, place, 0.5) * (1 - extent), extent), 1)


def central_box(aspect: Tensor, shapes: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """The largest central box (N, 4) whose true width / height lies in `shapes`: by default the central square."""
    shape = aspect.clamp(*shapes) / aspect
    extent = torch.stack((shape, 1 / shape), 1).clamp(max=1)
    return torch.cat(((1 - extent) / 2, extent), 1)


def gaussian(sigma: Tensor, reach: int) -> Tensor:
    """Gaussian kernels (N, 2 reach + 1) that sum to 1, from standard deviations (N,) in pixels; 0 leaves all as is."""
    offset = torch.arange(-reach, reach + 1, device=sigma.device)
    kernel = (-0.5 * (offset / sigma.clamp_min(1e-3)[:, None]) ** 2).exp()
    kernel = torch.where(kernel < 1e-6, 0.0, kernel)  # denormal numbers slow a product down tenfold
    return kernel / kernel.sum(1, keepdim=True)


def resize(pixels: Tensor, box: Tensor, size: int, flip: Tensor, kernel: Tensor | None = None) -> Tensor:
    """The `box` (N, 4) of each picture (N, H, H, C) uint8 as (N, C, size, size) float32 grey levels in [0, 255].

    `flip` (N,) says which are mirrored; `kernel` (N, 2r + 1) then blurs each along both axes, its edge pixels repeated.
    """
    samples, _, width, channels = pixels.shape
    (left, top), (across, down) = axis_maps(box, flip, width, size, kernel)
    tiles, tile, taps = across.shape[1:]  # P of T outputs, of K inputs each
    bands = _take(pixels.flatten(2), top, taps).float()  # (N, P, K, W C)
    half = (bands.mT @ down.mT).transpose(1, 2)  # (N, W C, P, T)
    bands = _take(half.reshape(samples, width, -1), left, taps)  # (N, P, K, C P T)
    view: Tensor = (bands.mT @ across.mT).transpose(1, 2)  # (N, C P T, P, T)
    view = view.reshape(samples, channels, tiles * tile, tiles * tile)
    return view[:, :, :size, :size]


def axis_maps(box: Tensor, flip: Tensor, length: int, size: int, kernel: Tensor | None) -> tuple[Tensor, Tensor]:
    """A_x and A_y in tiles of T outputs that read K inputs: the first input (2, N, tiles) and A (2, N, tiles, T, K).

    An axis of `length` pixels, of which `box` holds the part to see, becomes `size` pixels.
    """
    reach = 0 if kernel is None else kernel.shape[1] // 2
    tiles = math.ceil(size / _TILE)
    tile = math.ceil(size / tiles)
    outputs = torch.arange(-reach, tile + reach, device=box.device).repeat(tiles, 1)
    outputs = (outputs + tile * torch.arange(tiles, device=box.device)[:, None]).clamp(0, size - 1)  # (tiles, T + 2r)
    mirror = torch.stack((flip, torch.zeros_like(flip)))[..., None, None]
    place = torch.where(mirror, size - 0.5 - outputs, outputs + 0.5)  # (2, N, tiles, T + 2r)
    low, extent = (length * box.T).reshape(2, 2, -1, 1, 1)  # of both axes, in pixels: (2, N, 1, 1)
    scale = extent / size
    support = scale.clamp_min(1)
    centre = low + place * scale
    most = length / size
    taps = min(length, math.ceil((tile + 2 * reach - 1) * most + 2 * max(most, 1)))
    first = (centre.amin(3, keepdim=True) - support + 0.5).floor().clamp(0, length - taps)  # (2, N, tiles, 1)
    inputs = first + torch.arange(0.5, taps, device=box.device)  # (2, N, tiles, K)
    weights = (inputs[..., None, :] - centre[..., None]).abs_().div_(-support[..., None]).add_(1).clamp_min_(0)
    weights /= weights.sum(4, keepdim=True)
    if kernel is not None:
        weights = _band(kernel, tile)[:, None] @ weights
    return first.squeeze(3).long(), weights


def _band(kernel: Tensor, size: int) -> Tensor:
    """The matrices (N, T, T + 2r) that convolve with `kernel` (N, 2r + 1): each row is the one above, moved by one."""
    row = torch.nn.functional.pad(kernel, (0, size))  # one longer than a row of the matrix, so repeats drift
    width = row.shape[1] - 1
    return row.repeat(1, size)[:, : size * width].view(-1, size, width)


def _take(rows: Tensor, first: Tensor, count: int) -> Tensor:
    """Runs of `count` of the rows (N, R, F), starting at `first` (N, tiles): (N, tiles, count, F)."""
    samples, length, width = rows.shape
    if count == length:
        return rows[:, None].expand(-1, first.shape[1], -1, -1)
    start = first + length * torch.arange(samples, device=rows.device)[:, None]
    index = start[..., None] + torch.arange(count, device=rows.device)
    return rows.flatten(0, 1).index_select(0, index.flatten()).view(samples, -1, count, width)
