"""Pictures: uint8 pixels in memory, on a device or in a file, each with the aspect it had before squashing."""

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twinlens.batch import Raw, Samples
from twinlens.errors import InputError

_CHUNK = 64 * 2**20  # bytes: what is hashed or moved to a device at a time
_LUMA = (19595, 38470, 7471)  # ITU-R BT.601, 2^16 times (0.299, 0.587, 0.114); the sum is 2^16, so grey stays as it is


class Stored:
    """Rows of uint8 in a file, read from it when they are asked for.

    Positional reads and no map: what is resident stays the same however much is read, while random rows of a map end as
    the whole file, since the system maps large pages around each row whatever advice it has (1.6 GB of a 1.5 GB file
    with MADV_DONTNEED every 64 MiB, 7 MB with reads); and a file that is cut short is an error where a map is a crash.
    """

    device = torch.device("cpu")

    def __init__(self, path: Path, shape: tuple[int, ...], offset: int = 0) -> None:
        self.path, self.shape, self.offset = path, torch.Size(shape), offset
        self._file = os.open(path, os.O_RDONLY)  # kept open, so that it outlives the file's name
        weakref.finalize(self, os.close, self._file)

    def read(self, rows: Tensor) -> Tensor:
        """The rows at `rows` (n,) int64."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.shape[0]:  # beyond lie bytes, but no pixels
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of {self.shape[0]}")
        out = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        width = prod(self.shape[1:])
        for place, row in zip(out.view(len(rows), width).numpy(), rows.tolist(), strict=True):
            if os.preadv(self._file, [place], self.offset + row * width) != width:
                raise InputError(f"{self.path} was cut short while it was in use: restore it, or load the data anew")
        return out


@dataclass(eq=False, repr=False, kw_only=True)
class Pictures(Samples):
    """Square pictures: `fetch` gives pixels (n, H, W, C) uint8, C in {1, 3}, and aspect (n,) float32.

    `pixels` (M, H, W, C) is the storage and `rows` (N,) the place of each sample in it (None: all, in order), so that
    subsets share one storage. `aspect` (N,) is width over height as the original is meant to be seen. `channels` is C
    where it shall be another than the storage's.
    """

    modality = "image"

    name: str
    pixels: Tensor | Stored
    aspect: Tensor
    fingerprint: str
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    names: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    rows: Tensor | None = None
    channels: int | None = None

    def __len__(self) -> int:
        return len(self.aspect)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what `fetch` gives."""
        height, width, channels = self.pixels.shape[1:]
        return height, width, self.channels or channels

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"channels": self.shape[2]}

    @property
    def nbytes(self) -> int:
        return len(self) * prod(self.shape)

    def fetch(self, index: Tensor) -> Raw:
        index = index.to(self.pixels.device)
        rows = index if self.rows is None else self.rows[index]
        # index_select copies whole rows; plain indexing of uint8 takes three times as long
        pixels = self.pixels.read(rows) if isinstance(self.pixels, Stored) else self.pixels.index_select(0, rows)
        return _recoloured(pixels, self.shape[2]), self.aspect[index]

    def subset(self, index: Tensor) -> "Pictures":
        at = index.to(self.pixels.device)
        places = at.cpu().numpy()
        return replace(
            self,
            aspect=self.aspect[at],
            rows=at if self.rows is None else self.rows[at],
            labels=None if self.labels is None else self.labels[places],
            names=None if self.names is None else [self.names[place] for place in places],
            fingerprint=blake2b(self.fingerprint.encode() + places.tobytes(), digest_size=16).hexdigest(),
        )

    def to(self, device: torch.device | str) -> "Pictures":
        pixels = torch.empty(len(self), *self.shape, dtype=torch.uint8, device=device)  # (N, H, W, C)
        for some in self.chunks():
            pixels[some] = self.fetch(torch.arange(some.start, some.stop))[0].to(device)
        return replace(self, pixels=pixels, aspect=self.aspect.to(device), rows=None, channels=None)

    def with_channels(self, channels: int) -> "Pictures":
        """The same samples in grey (1 channel, luma of ITU-R BT.601) or in colour (3, equal where they were grey)."""
        return replace(self, channels=channels)

    def chunks(self) -> Iterator[slice]:
        """Runs of samples whose pixels take about 64 MiB together."""
        step = max(1, _CHUNK // prod(self.shape))
        return (slice(start, min(start + step, len(self))) for start in range(0, len(self), step))


def _recoloured(pixels: Tensor, channels: int) -> Tensor:
    if pixels.shape[3] == channels:
        return pixels
    if channels == 3:
        return pixels.repeat(1, 1, 1, 3)  # written out: views are made of pixels that lie side by side
    red, green, blue = pixels.int().unbind(3)  # each (n, H, W)
    return ((_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue + 2**15) // 2**16).byte()[..., None]
