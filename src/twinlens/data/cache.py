"""Decoded pictures, written once for each content and read from there ever after.

An entry is two files, `<name>.u8` (the pixels of all rows, then their aspects) and `<name>.json`, each renamed into
place when complete, the JSON last. A process killed at any moment leaves no entry that looks whole.
"""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from twinlens.data.decode import Pixels
from twinlens.data.pictures import Stored
from twinlens.errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system: two processes may do the same work twice, which is only slower
    fcntl = None  # type: ignore[assignment]

VERSION = 1  # of the files' layout and of how pixels are made: raise it when either changes


class Row(NamedTuple):
    """A picture decoded to (S, S, C) with its aspect, or the name of one that could not be."""

    name: str
    decoded: tuple[Pixels, float] | None


class Plan(NamedTuple):
    """What is to be written: `most` rows or fewer of `shape` (S, S, C), made one after the other."""

    shape: tuple[int, int, int]
    most: int
    rows: Iterable[Row]


class Entry(NamedTuple):
    """What has been written: pixels (N, S, S, C) in the file, aspect (N,) float32, names left out."""

    pixels: Stored
    aspect: Tensor
    unreadable: tuple[str, ...]


def folder() -> Path:
    """$TWINLENS_CACHE, or twinlens in the user's cache folder."""
    if own := os.environ.get("TWINLENS_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "twinlens"


def once(name: str, plan: Callable[[], Plan]) -> Entry:
    """The entry `name`, made from `plan()` if it is missing or damaged; of several processes one makes it."""
    if (entry := _recall(name)) is None:
        with _alone(name):
            if (entry := _recall(name)) is None:
                entry = _make(name, plan())
    return entry


def remembered(key: str) -> str | None:
    """The text stored under `key` by `remember`."""
    try:
        return (folder() / f"{key}.key").read_text()
    except OSError:
        return None


def remember(key: str, text: str) -> None:
    """Stores a short text for `remembered`."""
    with writing(len(text)):
        _replace(folder() / f"{key}.key", text.encode())


@contextmanager
def writing(need: int) -> Iterator[None]:
    """Failures to write `need` bytes to the cache become one sentence; a disk that is too full fails at once."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder()).free < need:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield
    except OSError as error:
        raise InputError(
            f"{need / 1e6:,.1f} MB cannot be written to the cache folder {folder()} ({error.strerror or error}): "
            "make room there, or set TWINLENS_CACHE to a folder that has it"
        ) from error


def _recall(name: str) -> Entry | None:
    path = folder() / f"{name}.u8"
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        shape: tuple[int, ...] = tuple(about["shape"])  # (N, S, S, C)
        if path.stat().st_size != prod(shape) + 4 * shape[0]:
            return None
        aspect = np.fromfile(path, dtype=np.float32, offset=prod(shape))
        return Entry(Stored(path, shape), torch.from_numpy(aspect), tuple(about["unreadable"]))
    except (OSError, ValueError, KeyError):
        return None


def _make(name: str, plan: Plan) -> Entry:
    path = folder() / f"{name}.u8"
    part = _part(path)
    aspects: list[float] = []
    unreadable: list[str] = []
    with writing(plan.most * (prod(plan.shape) + 4)):
        try:
            with part.open("wb") as file:  # plain writes: a full disk is an error here, but kills who writes to a map
                for row in plan.rows:
                    if row.decoded is None:
                        unreadable.append(row.name)
                        continue
                    file.write(np.ascontiguousarray(row.decoded[0]).data)
                    aspects.append(row.decoded[1])
                file.write(np.asarray(aspects, dtype=np.float32).data)
                _flush(file)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        about = {"shape": (len(aspects), *plan.shape), "unreadable": unreadable}
        _replace(path.with_suffix(".json"), json.dumps(about).encode())
    entry = _recall(name)
    assert entry is not None
    return entry


def _replace(path: Path, content: bytes) -> None:
    part = _part(path)
    with part.open("wb") as file:
        file.write(content)
        _flush(file)
    part.replace(path)


def _part(path: Path) -> Path:
    return path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time; what a killed one left behind is removed."""
    with ExitStack() as stack:
        with writing(0):
            file = stack.enter_context((folder() / f"{name}.lock").open("w"))
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
                for left in folder().glob(f"{name}.*.part"):
                    left.unlink(missing_ok=True)
        yield
