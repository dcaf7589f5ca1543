"""CIFAR-10 in the two forms that hold nothing executable: the official binary version and a packed JPEG copy."""

import io
import tarfile
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from twinlens.batch import Split
from twinlens.data import cache
from twinlens.data.arrays import Part, reading
from twinlens.data.decode import decode
from twinlens.data.pictures import Pictures
from twinlens.data.work import concurrently, track
from twinlens.errors import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SIDE = 32
_TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
_TEST = "cifar-10-batches-bin/test_batch.bin"
_RECORD = 1 + 3 * _SIDE * _SIDE  # bytes: a label, then the red, green and blue planes


def read_binary(path: Path) -> tuple[Part, Part]:
    """cifar-10-binary.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html), read without unpacking it to the disk."""
    batches = {}
    with reading(path), tarfile.open(path) as archive:
        for member in archive:
            if member.name in (*_TRAIN, _TEST) and (file := archive.extractfile(member)) is not None:
                batches[member.name] = np.frombuffer(file.read(), dtype=np.uint8).reshape(-1, _RECORD)
    if missing := {*_TRAIN, _TEST} - batches.keys():
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}: it is not the binary version of CIFAR-10")
    train, test = np.concatenate([batches[name] for name in _TRAIN]), batches[_TEST]
    return _part(train), _part(test)


def _part(records: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> Part:
    return Part(records[:, 1:].reshape(-1, 3, _SIDE, _SIDE), records[:, 0])


def read_jpeg(path: Path) -> Split:
    """A .npz file with {train,test}_jpeg (all files in one run of bytes), _offset (N + 1,) and _label (N,)."""
    with reading(path), path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        fields = [[file[f"{part}_{field}"] for field in ("jpeg", "offset", "label")] for part in ("train", "test")]
    blobs = [jpeg[a:b] for jpeg, offset, _ in fields for a, b in pairwise(offset)]
    content = blake2b(path.read_bytes(), digest_size=16).hexdigest()
    shape = (_SIDE, _SIDE, 3)

    def row(at: int) -> cache.Row:
        return cache.Row(str(at), decode(io.BytesIO(blobs[at].tobytes()), _SIDE, 3))

    def rows() -> Iterator[cache.Row]:
        yield from track(concurrently(row, range(len(blobs))), len(blobs), f"decoding {path.name}")

    entry = cache.once(f"{content}-{_SIDE}", lambda: cache.Plan(shape, len(blobs), rows()))
    if entry.unreadable:
        raise InputError(
            f"{path} holds {len(entry.unreadable)} pictures that cannot be read: it is damaged; fetch it anew"
        )
    both = Pictures(
        name="cifar10",
        pixels=entry.pixels,
        aspect=entry.aspect,
        fingerprint=content,
        labels=np.concatenate([label for _, _, label in fields]).astype(np.int64),
        classes=CLASSES,
        notes=(
            f"CIFAR-10 was read from a JPEG copy ({path.name}), not lossless: compare runs, not published numbers.",
        ),
    )
    count = len(fields[0][2])
    return Split(both.subset(torch.arange(count)), both.subset(torch.arange(count, len(both))))
