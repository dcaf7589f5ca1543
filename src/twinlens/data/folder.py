"""A folder of pictures -> samples: what is in it, its classes and split, and its pixels through the cache."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch

from twinlens.batch import Split
from twinlens.data import cache
from twinlens.data.decode import VIEW, Header, decode, measure, stored_side
from twinlens.data.pictures import Pictures
from twinlens.data.work import concurrently, track
from twinlens.errors import InputError

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_TEST = ("test", "val", "valid", "validation")  # in this order of preference
_NAMED = 10  # unreadable files that a note names

Opened = Callable[[str], Path | BinaryIO]
"""Where the bytes of a picture are, by its name: a file of its own, or a part of another."""


class File(NamedTuple):
    """A picture file: where it lies below the folder, and what tells that it has not changed."""

    name: str
    size: int
    mtime_ns: int


class Layout(NamedTuple):
    """What the names of files say: the part of each ("train", "test" or "" for neither) and its class, if any."""

    part: list[str]
    label: list[str | None]


def from_folder(root: Path, *, size: int | None = None) -> Split:
    """All JPEG, PNG and WebP pictures below `root`, squashed to one square that suits views of `size` pixels.

    First-level folders named train and test (or val, valid, validation) are the split; if all pictures of a part lie in
    folders, the first level of those are the classes. Unreadable files are left out and named in `notes`. Raises
    InputError if fewer than two pictures can be read, or if more than one file and 1 % of them cannot.
    """
    found = list_files(root)
    layout = read_layout([file.name for file in found])
    files = [file for file, part in zip(found, layout.part, strict=True) if part]
    entry, content = decoded(root, files, root.joinpath, size)
    left_out = set(entry.unreadable)
    kept = [i for i, file in enumerate(found) if layout.part[i] and file.name not in left_out]
    everything = Pictures(
        name=root.resolve().name,
        pixels=entry.pixels,
        aspect=entry.aspect,
        fingerprint=content,
        names=[_shown(found[i].name) for i in kept],
        notes=_notes(found, layout, entry.unreadable),
    )
    return _split(everything, [layout.part[i] for i in kept], [layout.label[i] for i in kept])


def decoded(root: Path, files: Sequence[File], opened: Opened, size: int | None) -> tuple[cache.Entry, str]:
    """The pixels of pictures in `root`, decoded once for each content, and a hash of that content."""
    content = _content(root, files, opened)
    with warnings.catch_warnings():  # decoders' remarks on single files, from any thread
        warnings.simplefilter("ignore")
        names = [file.name for file in files]
        return cache.once(f"{content}-{size or VIEW}", lambda: _plan(root, names, opened, size)), content


def list_files(root: Path, least: int = 2) -> list[File]:
    """The picture files below `root`, sorted by name; hidden files and folders are not looked at."""
    files, seen = [], set()
    for at, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        seen.add(os.path.realpath(at))  # links may lead in circles
        folders[:] = [
            name for name in folders if name[0] != "." and os.path.realpath(os.path.join(at, name)) not in seen
        ]
        for name in names:
            path = Path(at, name)
            if name[0] != "." and path.suffix.lower() in PICTURES and (path.is_file() or path.is_symlink()):
                status = path.stat() if path.exists() else path.lstat()  # a broken link is an unreadable picture
                files.append(File(path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns))
    if len(files) < least:
        raise InputError(
            f"{root} holds {len(files) or 'no'} picture{'s' * (len(files) != 1)}: expected a folder with at least two "
            f"files that end in {', '.join(PICTURES)}, in any subfolders"
        )
    return sorted(files)


def read_layout(names: Sequence[str]) -> Layout:
    """Split and classes of files by their names alone. Folders that hold everything say nothing and are passed over."""
    paths = [name.split("/") for name in names]
    while all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    tops = {path[0].lower() for path in paths if len(path) > 1}
    test = next((name for name in _TEST if name in tops), None)
    if "train" not in tops or test is None:
        return Layout(["train"] * len(paths), _labels(paths))
    part = [{"train": "train", test: "test"}.get(path[0].lower(), "") if len(path) > 1 else "" for path in paths]
    label: list[str | None] = [None] * len(paths)
    for name in ("train", "test"):
        at = [i for i in range(len(paths)) if part[i] == name]
        for i, of in zip(at, _labels([paths[i][1:] for i in at]), strict=True):
            label[i] = of
    return Layout(part, label)


def _labels(paths: Sequence[list[str]]) -> list[str | None]:
    return [path[0] for path in paths] if all(len(path) > 1 for path in paths) else [None] * len(paths)


def _refuse(error: OSError) -> None:
    raise InputError(f"the folder {error.filename} cannot be read: {error.strerror}") from error


def _content(root: Path, files: Sequence[File], opened: Opened) -> str:
    """A hash of the files' names and bytes; the bytes are read only if a path, a size or a time is new."""
    seen = blake2b(repr((cache.VERSION, str(root.resolve()), [tuple(file) for file in files])).encode(), digest_size=16)
    if (known := cache.remembered(seen.hexdigest())) is not None:
        return known
    content = blake2b(str(cache.VERSION).encode(), digest_size=16)
    digests = concurrently(_digest, (opened(file.name) for file in files))
    for file, digest in zip(files, track(digests, len(files), f"reading {root.name}"), strict=True):
        name = os.fsencode(file.name)
        content.update(len(name).to_bytes(4, "big") + name + digest)
    cache.remember(seen.hexdigest(), content.hexdigest())
    return content.hexdigest()


def _digest(path: Path | BinaryIO) -> bytes:
    digest = blake2b(digest_size=16)
    try:
        with path.open("rb") if isinstance(path, Path) else path as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError:  # a file that cannot be read is left out later, with the unreadable ones
        return bytes(16)
    return digest.digest()


def _plan(root: Path, names: Sequence[str], opened: Opened, size: int | None) -> cache.Plan:
    measured = concurrently(measure, map(opened, names))
    headers = list(track(measured, len(names), f"measuring {root.name}"))
    _check(root, names, [header is not None for header in headers])
    good = [header for header in headers if header is not None]
    side = stored_side(np.array([header[:2] for header in good]), size)
    channels = 1 if all(header.grey for header in good) else 3
    return cache.Plan((side, side, channels), len(good), _rows(root, names, opened, headers, (side, channels)))


def _rows(
    root: Path, names: Sequence[str], opened: Opened, headers: Sequence[Header | None], shape: tuple[int, int]
) -> Iterator[cache.Row]:
    def row(at: int) -> cache.Row:
        return cache.Row(names[at], headers[at] and decode(opened(names[at]), *shape))

    readable = []
    for made in track(concurrently(row, range(len(names))), len(names), f"decoding {root.name}"):
        readable.append(made.decoded is not None)
        yield made
    _check(root, names, readable)


def _check(root: Path, names: Sequence[str], readable: Sequence[bool]) -> None:
    bad = [name for name, good in zip(names, readable, strict=True) if not good]
    if len(bad) > 1 and len(bad) > len(names) / 100:
        raise InputError(
            f"{len(bad):,} of {len(names):,} pictures in {root} cannot be read, the first is {_shown(bad[0])}: "
            "at most 1 % may be damaged, repair or remove them"
        )
    if len(names) - len(bad) < 2:
        raise InputError(f"{root} holds fewer than two pictures that can be read; {_shown(bad[0])} cannot")


def _notes(found: Sequence[File], layout: Layout, unreadable: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if unreadable:
        named = ", ".join(map(_shown, unreadable[:_NAMED])) + (", ..." if len(unreadable) > _NAMED else "")
        used = len(found) - layout.part.count("")
        notes.append(f"{len(unreadable):,} of {used:,} pictures could not be read and were left out: {named}.")
    if outside := [file.name for file, part in zip(found, layout.part, strict=True) if not part]:
        first = _shown(outside[0])
        notes.append(
            f"Pictures left out because they lie outside the folders of the split: {len(outside):,}, first {first}."
        )
    return tuple(notes)


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")  # names need not be text


def _split(everything: Pictures, part: Sequence[str], label: Sequence[str | None]) -> Split:
    classes = tuple(sorted({name for name in label if name is not None}))
    number = {name: i for i, name in enumerate(classes)}

    def of(name: str) -> Pictures:
        at = [i for i in range(len(part)) if part[i] == name]
        pictures = everything if len(at) == len(part) else everything.subset(torch.tensor(at))
        named = [label[i] for i in at]
        if len(classes) < 2 or None in named:
            return pictures
        return replace(pictures, classes=classes, labels=np.array([number[str(of)] for of in named], dtype=np.int64))

    if part.count("train") < 2:
        raise InputError(f"the folder train in {everything.name} holds fewer than two pictures that can be read")
    return Split(of("train"), of("test") if "test" in part else None)
