"""Pictures with captions: texts beside them, a list of captions, or WebDataset shards -> pairs."""

import io
import json
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from twinlens.batch import Split
from twinlens.data.columns import LABELS, column, complete, filled, joined, labelled, recognised, split, where
from twinlens.data.folder import PICTURES, File, Opened, decoded, list_files, read_layout
from twinlens.data.pairs import Pairs
from twinlens.data.pictures import Pictures
from twinlens.data.source import Source
from twinlens.data.tables import FILE, LABEL, SPLIT, Table, contents, few, read, repaired, separated
from twinlens.data.text import Strings, tokenised
from twinlens.data.tokenizer import Tokenizer
from twinlens.errors import InputError

_ENDINGS = (".csv", ".tsv", ".jsonl", ".txt", ".json")
_LISTS = [f"{name}{ending}" for name in ("captions", "metadata") for ending in _ENDINGS]
_FILE = ("file", "image", "path", "file_name", "filename")
_CAPTION = ("caption", "captions", "text", "name", "description")


class Found(NamedTuple):
    """Pictures, where their bytes are, and rows with a caption each in `text` and its picture's name in FILE."""

    pictures: list[File]
    opened: Opened
    table: Table
    text: str


def load_captions(source: Source, *, size: int | None = None, tokenizer: Tokenizer | None = None) -> Split | None:
    """Pairs of pictures and captions, None if the path holds no captions.

    It is a folder of pictures with a .txt file of the same name beside each; or one with a list, such as
    captions.csv, that has a column file, image or path and a column caption, text or name; or a .tar file of
    WebDataset, or a folder of them. `size` is the side of the views in pixels, the rest as in `load_text`. A picture
    with several captions is in as many pairs. Raises InputError if more than 1 % of either side lack the other.
    """
    path = Path(source.path).expanduser()
    if (found := _find(path, source)) is None:
        return None
    rows = where(found.table, source.where)
    part, notes = split(found.table, rows, source)
    captions = joined(found.table, rows, found.text)
    names = column(found.table, rows, FILE).to_pylist()
    kept, more = _kept(path, found, captions, names, part)
    place = {file.name: i for i, file in enumerate(found.pictures)}
    used = sorted({place[names[i]] for i in np.flatnonzero(kept)})
    if len(used) < 2:
        raise InputError(f"{path} has {len(used)} pictures with captions to use: expected two or more")
    pictures, unread = _decoded(path, [found.pictures[i] for i in used], found.opened, size)
    at = {name: i for i, name in enumerate(pictures.names or ())}
    kept &= [name in at for name in names]
    label = source.label or recognised(found.table, (*LABELS, "group"))
    labels, classes, others = labelled(found.table, rows, replace(source, label=label), paired=True)

    chosen = {name: np.flatnonzero(kept & (part == name)) for name in ("train", "test")}
    if len(chosen["train"]) < 2:
        raise InputError(f"{path} has fewer than two pictures with captions to learn from: expected some in its train")
    if tokenizer is None:
        tokenizer = source.tokenizer(Strings([captions.take(pa.array(chosen["train"]))]))
    made = []
    for places in chosen.values():
        mine = complete(labels, places)
        made.append(
            Pairs(
                name=found.table.name,
                parts=(
                    pictures.subset(torch.tensor([at[names[i]] for i in places], dtype=torch.int64)),
                    tokenised(found.table.name, captions.take(pa.array(places)), tokenizer),
                ),
                labels=mine,
                classes=classes if mine is not None else (),
                names=[names[i] for i in places],
                notes=(*found.table.notes, *notes, *more, *others, *unread),
            )
        )
    return Split(made[0], made[1] if len(made[1]) else None)


def _kept(
    path: Path, found: Found, captions: pa.LargeStringArray, names: Sequence[str], part: NDArray[np.str_]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which rows are of a part, have a picture and say something, and notes on those and on pictures that lack it."""
    kept, notes = filled(found.table, [captions, captions], part)
    there = {file.name for file in found.pictures}
    lost = [i for i, name in enumerate(names) if name not in there]
    notes += few(lost, len(names), f"captions of {path} have no picture", lambda i: repr(names[i]), "add them")
    captioned = set(found.table.rows[FILE].to_pylist())  # whatever the part
    bare = [file.name for file in found.pictures if file.name not in captioned]
    notes += few(bare, len(found.pictures), f"pictures of {path} have no caption", str, "add them")
    kept[lost] = False
    return kept & (part != ""), notes


def _decoded(root: Path, files: list[File], opened: Opened, size: int | None) -> tuple[Pictures, tuple[str, ...]]:
    entry, content = decoded(root, files, opened, size)
    left_out = set(entry.unreadable)
    names = [file.name for file in files if file.name not in left_out]
    name = root.resolve().name
    pictures = Pictures(name=name, pixels=entry.pixels, aspect=entry.aspect, fingerprint=content, names=names)
    return pictures, few(sorted(left_out), len(files), f"pictures of {root} could not be read", str, "repair them")


def lists_captions(file: Path, text: str = "") -> bool:
    """Whether a file is a list of captions: by its name or, as metadata may be about other things, by its columns too.

    `text` is the column of captions where it has none of the usual names.
    """
    if file.name not in _LISTS or file.stem == "captions" or file.suffix in (".json", ".txt"):
        return file.name in _LISTS
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        line = next(lines, "")
    found = re.findall(r'"([^"]*)"\s*:', line) if file.suffix == ".jsonl" else re.split("[\t;,]", line)
    there = {name.strip('" \r\n').lower() for name in found}
    return not there.isdisjoint(_FILE) and not there.isdisjoint([text.lower()] if text else _CAPTION)


def _find(path: Path, source: Source) -> Found | None:
    if path.suffix.lower() == ".tar" and path.is_file():
        if (found := _shards(path, [path])) is None:
            raise InputError(f"{path} holds no pictures with captions: expected members such as 1.jpg and 1.txt")
        return found
    if not path.is_dir():
        return None
    if shards := sorted(file for file in path.glob("*.tar") if file.name[0] != "."):
        return _shards(path, shards)
    pictures = list_files(path, least=0)
    for name in _LISTS:
        if pictures and (path / name).is_file() and (found := _listed(path, path / name, pictures, source)):
            return found
    return _beside(path, pictures)


def _beside(root: Path, pictures: list[File]) -> Found | None:
    """A text beside each picture. Where fewer than half have one (a guess), these are notes and no captions."""
    texts = {file.name: (root / file.name).with_suffix(".txt") for file in pictures}
    texts = {name: text for name, text in texts.items() if text.is_file()}
    if not texts or 2 * len(texts) < len(pictures):
        return None
    return Found(
        pictures, root.joinpath, _table(root, {name: text.read_bytes() for name, text in texts.items()}), "text"
    )


def _table(root: Path, captions: dict[str, bytes], more: dict[str, list[Any]] | None = None) -> Table:
    """Captions by the name of their picture, with what the folders of these say."""
    bad = [name for name, caption in captions.items() if "\ufffd" in caption.decode(errors="replace")]
    notes = few(bad, len(captions), f"captions of {root} are not UTF-8", str, "save them as UTF-8")
    texts = [caption.decode("utf-8-sig", errors="replace").strip() for caption in captions.values()]
    rows = pa.table({FILE: list(captions), "text": pa.array(texts, pa.large_string()), **(more or {})})
    return Table(root.resolve().name, str(root), _layout(rows), notes)


def _layout(rows: pa.Table) -> pa.Table:
    """The rows with the split and the classes that folders say, where no column says them."""
    layout = read_layout(rows[FILE].to_pylist()) if len(rows) else read_layout(["x"])
    there = {name.lower() for name in rows.column_names}
    if SPLIT not in there and "test" in layout.part:
        rows = rows.append_column(SPLIT, pa.array([part or "outside" for part in layout.part]))
    if not there & {*LABELS, "group"} and None not in layout.label:
        rows = rows.append_column(LABEL, pa.array(layout.label))
    return rows


def _listed(root: Path, file: Path, pictures: list[File], source: Source) -> Found | None:
    """A list with a column of files and one of captions; None where it is about other things."""
    table = _plain(file) if file.suffix == ".txt" else read(file)
    which = recognised(table, _FILE)
    text = source.text or recognised(table, [name for name in _CAPTION if name != which])
    if not (which and text):
        if file.stem == "metadata":
            return None
        there = ", ".join(table.rows.column_names)
        expected = f"{' or '.join(_CAPTION)}, or name it by text" if which else f"{' or '.join(_FILE)}, of pictures"
        raise InputError(f"{file} has the columns {there}: expected one called {expected}")
    known = {picture.name for picture in pictures}
    ends: dict[str, str] = {}  # each end of a path -> the one picture whose path ends so, "" if there are several
    for name in known:
        for end in _ends(name):
            ends[end] = "" if end in ends else name

    def resolved(name: str) -> str:
        """A path from the list's folder; else by as much of its end as one picture alone has, wherever that lies."""
        name = os.path.normpath(name.strip().replace("\\", "/"))
        return name if name in known else next((ends[end] for end in _ends(name) if end in ends), "") or name

    names = [resolved(name or "") for name in table.rows[which].to_pylist()]
    rows = table.rows.drop_columns([which])
    if FILE in rows.column_names:
        rows = rows.drop_columns([FILE])
    rows = _layout(rows.append_column(FILE, pa.array(names)))
    return Found(pictures, root.joinpath, Table(root.resolve().name, str(file), rows, table.notes), text)


def _ends(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _plain(file: Path) -> Table:
    """A list in a .txt file: separated by tabs or commas, with a line of names or, at first sight, without."""
    data, notes = repaired(contents(file), str(file))
    lines = data.decode().splitlines()
    mark = "\t" if lines and "\t" in lines[0] else ","
    if lines and {name.strip().lower() for name in lines[0].split(mark)} & set(_FILE):
        return Table(file.stem, str(file), separated(file, data, mark, mark == ","), notes)
    parts = [line.split(mark, 1) for line in lines if mark in line]
    rows = pa.table({"file": [name for name, _ in parts], "caption": [caption.strip() for _, caption in parts]})
    return Table(file.stem, str(file), rows, notes)


def _shards(root: Path, shards: Sequence[Path]) -> Found | None:
    """The samples of WebDataset: members of one name up to its first dot; the parts by the shards' own names."""
    where_: dict[str, tuple[Path, int, int]] = {}
    pictures: list[File] = []
    captions: dict[str, bytes] = {}
    more: dict[str, list[Any]] = {LABEL: [], SPLIT: []}
    for shard in shards:
        part = re.match(r"train|test|val|dev", shard.name.lower())
        for members in _grouped(shard).values():
            ending = next((ending for ending in PICTURES if ending in members), None)
            said = _said(shard, members)
            stem = f"{shard.name}/{next(iter(members.values())).name.split('.')[0]}"
            name = f"{stem}{ending}" if ending else stem
            if ending:
                member = members[ending]
                pictures.append(File(name, member.size, shard.stat().st_mtime_ns))
                where_[name] = shard, member.offset_data, member.size
            if said is not None:
                captions[name] = said.pop("caption")
                more[LABEL].append(said.get(LABEL))
                more[SPLIT].append(said.get(SPLIT) or (part and part[0]))
    if not pictures or not captions:
        return None
    extra = {name: values for name, values in more.items() if any(value is not None for value in values)}
    table = _table(root, captions, {name: pa.array([v and str(v) for v in values]) for name, values in extra.items()})
    rows = table.rows if LABEL in extra else table.rows.select([n for n in table.rows.column_names if n != LABEL])
    return Found(pictures, lambda name: _part(*where_[name]), table._replace(rows=rows), "text")


def _grouped(shard: Path) -> dict[str, dict[str, tarfile.TarInfo]]:
    groups: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                folder, name = os.path.split(member.name)
                key, dot, ending = name.partition(".")
                if member.isfile() and dot and key:
                    groups.setdefault(f"{folder}/{key}", {})["." + ending.lower()] = member
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{shard} cannot be read as .tar ({error}): it is damaged, or packed; unpack it") from error
    return groups


def _said(shard: Path, members: dict[str, tarfile.TarInfo]) -> dict[str, Any] | None:
    """The caption of a sample, and its class and part where it names them; None without a caption."""
    content = {
        ending: _part(shard, members[ending].offset_data, members[ending].size).read()
        for ending in (".txt", ".json", ".cls")
        if ending in members
    }
    try:
        about = json.loads(content.get(".json", b"{}"))
    except ValueError as error:
        raise InputError(f"{members['.json'].name} in {shard} is not JSON ({error}): repair it") from error
    about = about if isinstance(about, dict) else {}
    caption = next((about[key] for key in _CAPTION if isinstance(about.get(key), str | list) and about[key]), None)
    caption = caption[0] if isinstance(caption, list) else caption
    text = content.get(".txt", None if caption is None else str(caption).encode(errors="replace"))
    label = content[".cls"].decode(errors="replace").strip() if ".cls" in content else about.get("label")
    return None if text is None else {"caption": text, LABEL: label, SPLIT: about.get("split")}


def _part(shard: Path, offset: int, size: int) -> BinaryIO:
    with shard.open("rb") as file:
        file.seek(offset)
        return io.BytesIO(file.read(size))
