"""The IDX files of the MNIST family (http://yann.lecun.com/exdb/mnist, "FILE FORMATS"), gzipped or not."""

import gzip
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinlens.data.arrays import Part, reading
from twinlens.errors import InputError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_UBYTE = 0x08


def find(folder: Path) -> tuple[Part, Part] | None:
    """The training and the test part, if the four files of the family lie in `folder`."""
    paths = [next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None) for name in FILES]
    if None in paths:
        return None
    x, y, x_test, y_test = (read(path) for path in paths if path is not None)
    return Part(x, y), Part(x_test, y_test)


def read(path: Path) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file."""
    with reading(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != bytes((0, 0, _UBYTE)):
            raise InputError(
                f"{path} is not an IDX file of unsigned bytes: it begins with {magic.hex(' ') or 'nothing'}"
            )
        shape = tuple(np.frombuffer(file.read(4 * magic[3]), dtype=">u4").tolist())
        values = file.read()
    if len(values) != prod(shape):
        raise InputError(
            f"{path} holds {len(values):,} values, not {shape}: it was cut short or is damaged; fetch it anew"
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)
