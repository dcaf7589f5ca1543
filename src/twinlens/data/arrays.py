"""Arrays in memory or in .npy and .npz files -> samples."""

import mmap
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from twinlens.batch import Split
from twinlens.data.decode import Pixels, squash, stored_side
from twinlens.data.pictures import Pictures, Stored
from twinlens.data.work import concurrently
from twinlens.errors import InputError

_KEYS = (("x_train", "y_train", "x_test", "y_test"), ("x", "y", "x_test", "y_test"), ("images", "labels", "", ""))
_PARSERS_RAISE = (OSError, ValueError, EOFError, TypeError, AttributeError, KeyError)
_AT_ONCE = 2**24  # values of a float array converted at a time


class Part(NamedTuple):
    """Pictures in one of the accepted forms and, if there are any, their labels (N,)."""

    x: NDArray[Any]
    y: NDArray[Any] | None = None


def from_arrays(
    name: str,
    train: Part,
    test: Part | None = None,
    *,
    classes: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    size: int | None = None,
) -> Split:
    """Pictures (N, H, W), (N, H, W, C) or (N, C, H, W), C in {1, 3}, uint8 or float in [0, 1], with integer labels.

    Square ones stay as they are, others are squashed to a square that suits views of `size` pixels. Without `classes`
    the classes are the labels that occur. Raises InputError where an array is anything else.
    """
    parts = [train] if test is None else [train, test]
    arrays = [_channels_last(name, part.x) for part in parts]  # (N, H, W, C)
    if len({array.shape[1:] for array in arrays}) > 1:
        raise InputError(
            f"{name} holds pictures of {train.x.shape[1:]} to learn from and others of {parts[1].x.shape[1:]}"
        )
    if len(train.x) < 2 or len(parts[-1].x) < 1:
        raise InputError(
            f"{name} has {len(train.x)} in its part to learn from: expected two pictures or more, and one to test on"
        )
    classes, labels = _labels(name, parts, classes)
    made = []
    for array, label in zip(arrays, labels, strict=True):
        height, width = array.shape[1:3]
        pixels = _to_uint8(name, array)
        made.append(
            Pictures(
                name=name,
                pixels=_store(pixels if height == width else _squashed(pixels, size)),
                aspect=torch.full((len(array),), width / height),
                fingerprint="",
                labels=label,
                classes=classes if label is not None else (),
                notes=notes,
            )
        )
        made[-1].fingerprint = _fingerprint(made[-1])
    return Split(*made)


def from_file(path: Path, *, size: int | None = None) -> Split:
    """A .npy file, or a .npz file with x_train, y_train, x_test, y_test, with x and y, or with images and labels."""
    return from_arrays(path.stem, *(read_npz(path) if path.suffix.lower() == ".npz" else [_read_npy(path)]), size=size)


def read_npz(path: Path) -> tuple[Part, Part | None]:
    """The training and the test part of a .npz file."""
    with reading(path), path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        x, y, x_test, y_test = next((keys for keys in _KEYS if keys[0] in file), ("",) * 4)
        if not x:
            raise InputError(
                f"{path} holds the arrays {', '.join(file)}: expected x_train (with y_train, x_test, y_test), "
                "x (with y), or images (with labels)"
            )
        return Part(file[x], file.get(y)), Part(file[x_test], file.get(y_test)) if x_test in file else None


def _read_npy(path: Path) -> Part:
    with reading(path):
        return Part(np.lib.format.open_memmap(path, mode="r"))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What a damaged or foreign file makes a parser raise, in one sentence."""
    try:
        yield
    except InputError:
        raise
    except (*_PARSERS_RAISE, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as {path.suffix} ({error}): it is damaged, of another kind, "
            "or holds Python objects, which are never loaded"
        ) from error


def _channels_last(name: str, x: NDArray[Any]) -> NDArray[Any]:
    last, first = x.ndim == 4 and x.shape[3] in (1, 3), x.ndim == 4 and x.shape[1] in (1, 3)
    if x.ndim == 3 and x.shape[2] not in (1, 3) and x.size:
        return x[..., None]
    if last != first and x.size:
        return x if last else x.transpose(0, 2, 3, 1)
    raise InputError(
        f"{name} is an array of shape {x.shape}, which can{' be read in two ways' if last else 'not be read'}: "
        "expected (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3"
    )


def _to_uint8(name: str, x: NDArray[Any]) -> Pixels:
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise InputError(f"{name} is an array of {x.dtype}: expected uint8, or float from 0 to 1")
    out = np.empty(x.shape, dtype=np.uint8)
    step = max(1, _AT_ONCE // x[0].size)
    for start in range(0, len(x), step):
        some = np.asarray(x[start : start + step], dtype=np.float32)
        low, high = some.min(), some.max()
        if not (low >= 0 and high <= 1):  # NaN is neither
            raise InputError(
                f"{name} holds values from {low:g} to {high:g}: float pictures must lie in [0, 1] without NaN; "
                "divide 0 to 255 by 255, or give uint8"
            )
        out[start : start + step] = np.rint(some * 255)
    return out


def _squashed(x: Pixels, size: int | None) -> Pixels:
    height, width, channels = x.shape[1:]
    side = stored_side(np.array([[width, height]]), size)

    def one(picture: Pixels) -> Pixels:
        return np.asarray(squash(Image.fromarray(picture.squeeze(-1) if channels == 1 else picture), side))

    out = np.empty((len(x), side, side, channels), dtype=np.uint8)
    for row, picture in zip(out, concurrently(one, x), strict=True):
        row[...] = picture.reshape(row.shape)
    return out


def _store(x: Pixels) -> Tensor | Stored:
    """The array's own memory, or the file it is read from where that holds it as it is."""
    owner = x.base if isinstance(x.base, np.memmap) else x
    if (
        isinstance(owner, np.memmap)
        and isinstance(owner.base, mmap.mmap)
        and owner.mode == "r"
        and x.flags.c_contiguous
    ):
        return Stored(Path(str(owner.filename)), x.shape, owner.offset + x.ctypes.data - owner.ctypes.data)
    with warnings.catch_warnings():  # torch has no read-only tensors and says so; nothing writes to this one
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(x))


def _labels(
    name: str, parts: Sequence[Part], classes: tuple[str, ...]
) -> tuple[tuple[str, ...], list[NDArray[np.int64] | None]]:
    """The classes of all parts together, and each part's labels as indices into them."""
    for x, y in parts:
        if y is not None and (y.dtype.kind not in "iu" or y.shape != (len(x),)):
            raise InputError(
                f"{name} has labels of {y.dtype} {y.shape}: expected one integer for each picture, ({len(x)},)"
            )
    given = [None if part.y is None else part.y.astype(np.int64) for part in parts]
    if all(y is None for y in given):
        return (), given
    values = np.unique(np.concatenate([y for y in given if y is not None]))
    if not classes:
        return tuple(map(str, values)), [None if y is None else np.searchsorted(values, y) for y in given]
    if values[0] < 0 or values[-1] >= len(classes):
        raise InputError(f"{name} has labels from {values[0]} to {values[-1]}: expected 0 to {len(classes) - 1}")
    return classes, given


def _fingerprint(pictures: Pictures) -> str:
    digest = blake2b(repr(tuple(pictures.pixels.shape)).encode(), digest_size=16)
    for some in pictures.chunks():
        digest.update(pictures.fetch(torch.arange(some.start, some.stop))[0].numpy().data)
    if pictures.labels is not None:
        digest.update(pictures.labels.tobytes())
    return digest.hexdigest()
