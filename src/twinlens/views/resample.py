"""Crop, resize, flip and blur as one linear map per axis: view = A_y X A_x^T, each A built by tensor arithmetic.

Resizing is Pillow's antialiased bilinear filter: a triangle whose support grows with the scale where pixels are lost
(Heckbert 1989, "Fundamentals of texture mapping and image warping", section 3.5). A flip reverses the rows of A_x. A
blur is a band matrix times A, cheaper on A than on pixels. An output tile of 32 pixels needs only a band of the input,
so large pictures are tiles of small products: at 224 pixels a third of the arithmetic of the dense product.
"""

import math
from typing import NamedTuple

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


class Places(NamedTuple):
    """Where the outputs of both axes lie in the input: P tiles of T outputs, with r more on each side for a blur."""

    first: Tensor  # (2, N, P) int64, the input pixel at which a tile's band begins
    offset: Tensor  # (2, N, P, T + 2r) centres in pixels of the band
    support: Tensor  # (2, N, 1, 1) half the width of the triangle, in pixels

    def of(self, part: slice) -> "Places":
        """Those of a run of the samples."""
        return Places(*(x[:, part] for x in self))


def locate(box: Tensor, flip: Tensor, length: int, size: int, reach: int = 0) -> Places:
    """For boxes (N, 4) in pictures of side `length` that become `size` pixels, mirrored where `flip` (N,) says so."""
    tiles, tile, taps = _tiling(length, size, reach)
    outputs = torch.arange(-reach, tile + reach, device=box.device).repeat(tiles, 1)
    outputs = (outputs + tile * torch.arange(tiles, device=box.device)[:, None]).clamp(0, size - 1)  # repeats the edge
    mirror = torch.stack((flip, torch.zeros_like(flip)))[..., None, None]
    place = torch.where(mirror, size - 0.5 - outputs, outputs + 0.5)  # (2, N, P, T + 2r)
    low, extent = (length * box.T).reshape(2, 2, -1, 1, 1)  # (2, N, 1, 1)
    scale = extent / size
    support = scale.clamp_min(1)
    centre = low + place * scale - 0.5
    first = (centre.amin(3, keepdim=True) - support + 1).floor().clamp(0, length - taps)
    return Places(first.squeeze(3).long(), centre - first, support)


def resize(pixels: Tensor, places: Places, size: int, kernel: Tensor | None = None) -> Tensor:
    """Pictures (N, H, H, C) uint8 seen at `places` as (N, C, size, size) float32 grey levels in [0, 255].

    `kernel` (N, 2r + 1), if the places were located with a reach of r, blurs each along both axes.
    """
    samples, height, width, channels = pixels.shape
    tiles, tile, taps = _tiling(width, size, 0 if kernel is None else kernel.shape[1] // 2)
    (left, top), (across, down) = places.first, _weights(places, taps, kernel, tile)
    bands = _take(pixels.view(samples, 1, height, -1), top, taps).float()  # (N, P, K, 1, W C)
    half = bands.squeeze(3).mT @ down  # (N, P, W C, T)
    bands = _take(half.view(samples, tiles, width, -1), left, taps)  # (N, Q, K, P, C T)
    view: Tensor = bands.flatten(3).mT @ across  # (N, Q, P C T, T)
    view = view.unflatten(2, (tiles, channels, tile)).permute(0, 3, 2, 4, 1, 5)  # (N, C, P, T, Q, T)
    return view.reshape(samples, channels, tiles * tile, -1)[:, :, :size, :size]


def _tiling(length: int, size: int, reach: int) -> tuple[int, int, int]:
    """P tiles of T outputs, each of which reads K inputs at most: where the box is the whole picture."""
    tiles = math.ceil(size / _TILE)
    tile = math.ceil(size / tiles)
    scale = length / size
    return tiles, tile, min(length, math.ceil((tile + 2 * reach - 1) * scale + 2 * max(scale, 1)))


def _weights(places: Places, taps: int, kernel: Tensor | None, tile: int) -> Tensor:
    """A_x^T and A_y^T by tiles: (2, N, P, K, T), whose columns sum to 1."""
    inputs = torch.arange(taps, dtype=torch.float32, device=places.offset.device)[:, None]
    distance = (inputs - places.offset[..., None, :]).abs_()
    weights = distance.div_(places.support[..., None]).neg_().add_(1).clamp_min_(0)  # (2, N, P, K, T + 2r)
    weights /= weights.sum(3, keepdim=True)
    return weights if kernel is None else torch.matmul(weights, _band(kernel, tile)[:, None].mT)


def _band(kernel: Tensor, size: int) -> Tensor:
    """The matrices (N, T, T + 2r) that convolve with `kernel` (N, 2r + 1): each row is the one above, moved by one."""
    row = torch.nn.functional.pad(kernel, (0, size))  # one longer than a row of the matrix, so repeats drift
    width = row.shape[1] - 1
    return row.repeat(1, size)[:, : size * width].view(-1, size, width)


def _take(rows: Tensor, first: Tensor, count: int) -> Tensor:
    """Runs of `count` of the rows R of (N, B, R, F), from `first` (N, tiles) on: (N, tiles, count, B, F)."""
    samples, blocks, length, width = rows.shape
    if blocks == 1 and count == length:
        return rows.transpose(1, 2)[:, None]
    start = torch.arange(0, rows[..., 0].numel(), length, device=rows.device).view(samples, 1, 1, blocks)
    run = first[..., None, None] + torch.arange(count, device=rows.device)[:, None]  # (N, tiles, count, 1)
    return rows.flatten(0, 2).index_select(0, (start + run).flatten()).view(*run.shape[:3], blocks, width)
