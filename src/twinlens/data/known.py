"""Data sets known by name: made here, or looked for in $TWINLENS_DATA, the system and the cache, then downloaded."""

import os
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np

from twinlens.batch import Split
from twinlens.data import cache, cifar, factors, idx
from twinlens.data.arrays import Part, from_arrays, read_npz
from twinlens.data.download import download
from twinlens.errors import InputError

_SYSTEM = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"))
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_DIGITS = tuple("0123456789")


class Known(NamedTuple):
    """A published data set: classes in official order, what to download with which MD5, another way to get it."""

    classes: tuple[str, ...]
    host: str
    files: dict[str, str]
    hint: str = ""


KNOWN = {
    "cifar10": Known(
        cifar.CLASSES,
        "https://www.cs.toronto.edu/~kriz",  # the binary version: the other is a pickle, and can execute code
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
    ),
    "fashion-mnist": Known(
        _FASHION,
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        " or, on Debian and Ubuntu, install the package dataset-fashion-mnist",
    ),
    "mnist": Known(
        _DIGITS,
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
}


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return ("digits", "factors", *KNOWN)


def from_name(name: str) -> Split:
    """The data set `name` with its official classes, order and split. Raises InputError if it cannot be had."""
    if name == "digits":
        return _digits()
    if name == "factors":
        return factors.split()
    own = os.environ.get("TWINLENS_DATA")
    places = [*([Path(own).expanduser()] if own else []), *_SYSTEM, cache.folder() / "datasets"]
    for place in places:
        if (split := _find(name, place)) is not None:
            return split
    _download(name, places)
    split = _find(name, places[-1])
    assert split is not None
    return split


def _find(name: str, place: Path) -> Split | None:
    """The data set if `place` holds it, in any of the forms it is known to come in, lossless ones first."""
    classes = KNOWN[name].classes
    if (path := place / f"{name}.npz").is_file():
        return from_arrays(name, *read_npz(path), classes=classes)
    if (parts := idx.find(place / name)) is not None:
        return from_arrays(name, *parts, classes=classes)
    if name == "cifar10":
        for path in (place / "cifar-10-binary.tar.gz", place / name / "cifar-10-binary.tar.gz"):
            if path.is_file():
                return from_arrays(name, *cifar.read_binary(path), classes=classes)
        if (path := place / "cifar10_jpeg.npz").is_file():
            return cifar.read_jpeg(path)
    return None


def _download(name: str, places: list[Path]) -> None:
    known, folder = KNOWN[name], places[-1] / name
    try:
        for file, checksum in known.files.items():
            download(f"{known.host}/{file}", checksum, folder)
    except (OSError, HTTPException) as error:
        raise InputError(
            f"{name} is not in {', '.join(map(str, places))}, and {known.host} cannot be reached ({error}): "
            f"put {', '.join(known.files)} into {folder}{known.hint}"
        ) from error


def _digits() -> Split:
    """The 1,797 digits of scikit-learn, 8 x 8 with values 0 to 16; a fixed fifth of each class is the test part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    pixels = np.rint(x.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(pixels, y, test_size=0.2, stratify=y, random_state=0)
    return from_arrays("digits", Part(x_train, y_train), Part(x_test, y_test), classes=_DIGITS)
