"""Files of rows -> a table: lines of text, JSON lines, CSV, TSV, Parquet, folders of texts, saved `datasets`."""

import csv
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from twinlens.data.folder import read_layout
from twinlens.errors import InputError

SPLIT, LABEL, FILE = "split", "label", "file"  # columns that folders make of their names
_PACKED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".xz": lzma.open}
_BROKEN = (OSError, EOFError, lzma.LZMAError, pa.ArrowException, UnicodeError)


class Table(NamedTuple):
    """Rows of the user's: `name` for people, `source` for errors; `notes` say what had to be changed to read them."""

    name: str
    source: str
    rows: pa.Table
    notes: tuple[str, ...] = ()


def holds_rows(path: Path) -> bool:
    """Whether `read` knows what to do with `path`: by its name, and of a folder by what lies in it."""
    if not path.is_dir():
        return _kind(path) in _READERS
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file() or bool(_files(path))


def read(path: str | Path) -> Table:
    """The rows of a file or folder; text that is not UTF-8 is repaired, and noted, in at most 1 % of the rows.

    A .txt file gives a column "text", a row for each line that is not blank. A folder gives a row for each .txt file
    below it, with the columns "file" and, as of a folder of pictures, "split" and "label" where its subfolders say so.
    Raises InputError with the file, and the line where there is one.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}: expected one whose name ends in {_ENDINGS}")
    if (kind := _kind(path)) not in _READERS:
        raise InputError(f"{path} is not a table that is understood: expected a name that ends in {_ENDINGS}")
    name = path.name.split(".")[0]
    try:
        if kind == ".parquet":
            return Table(name, str(path), _parquet(path))
        data, notes = repaired(contents(path), str(path))
        rows, more = _READERS[kind](path, data)
    except _BROKEN as error:
        raise InputError(
            f"{path} cannot be read as {kind[1:]} ({_short(error)}): it is damaged or of another kind"
        ) from error
    return Table(name, str(path), rows, (*notes, *more))


def repaired(data: bytes, source: str) -> tuple[bytes, tuple[str, ...]]:
    """The bytes as valid UTF-8, and a note if any had to be replaced; more than one line and 1 % are refused."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if _valid(data):
        return data, ()
    lines = data.split(b"\n")
    bad = []
    for place, line in enumerate(lines):
        try:
            line.decode()
        except UnicodeDecodeError:
            bad.append(place + 1)
            lines[place] = line.decode(errors="replace").encode()
    return b"\n".join(lines), few(
        bad, len(lines), f"lines of {source} are not UTF-8", lambda line: f"line {line}", "save the file as UTF-8"
    )


def few(bad: Sequence[Any], count: int, what: str, say: Callable[[Any], str], way_out: str) -> tuple[str, ...]:
    """A note on what is wrong with `bad` out of `count`, if anything; an InputError if it is more than one and 1 %."""
    if len(bad) > 1 and len(bad) > count / 100:
        raise InputError(f"{len(bad):,} of {count:,} {what}, first {say(bad[0])}: at most 1 % may be, {way_out}")
    return (f"{len(bad):,} of {count:,} {what}, first {say(bad[0])}.",) if len(bad) else ()


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in _PACKED else "".join(suffixes[-1:])


def contents(path: Path) -> bytes:
    """The bytes of a file, unpacked."""
    with _PACKED.get(path.suffix.lower(), Path.open)(path, "rb") as file:
        content: bytes = file.read()
    return content


def _valid(data: bytes) -> bool:
    """Whether bytes are UTF-8, without a second copy of them."""
    offsets = np.array([0, len(data)])
    whole = pa.Array.from_buffers(pa.large_binary(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    try:
        whole.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _lines(path: Path, data: bytes) -> tuple[pa.Table, tuple[str, ...]]:
    lines = pc.split_pattern(pa.array([data], pa.large_binary()).cast(pa.large_string()), "\n").flatten()
    lines = pc.utf8_rtrim(lines, "\r").cast(pa.large_string())
    kept = lines.filter(pc.not_equal(pc.utf8_trim_whitespace(lines), ""))
    blank = len(lines) - len(kept) - (data.endswith(b"\n") or not data)
    notes = (f"Blank lines of {path.name} left out: {blank:,}.",) if blank else ()
    return pa.table({"text": kept}), notes


def _json_lines(path: Path, data: bytes) -> tuple[pa.Table, tuple[str, ...]]:
    """Through Arrow, which is several times as fast; what it does not take, a line at a time."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    longest = int(np.diff(ends, prepend=-1, append=len(data)).max())
    options = pyarrow.json.ReadOptions(block_size=min(max(2**20, 2 * longest), 2**31 - 1), use_threads=False)
    try:
        rows = pyarrow.json.read_json(io.BytesIO(data), read_options=options)
        if not any(map(pa.types.is_temporal, rows.schema.types)):  # it rewrites texts that look like dates
            return rows, ()
    except pa.ArrowException:
        pass
    found = []
    for place, line in enumerate(data.decode().split("\n")):
        if line.strip():
            found.append(_object(line, f"line {place + 1} of {path}"))
    return _of_objects(found), ()


def _json(path: Path, data: bytes) -> tuple[pa.Table, tuple[str, ...]]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): repair it, or write JSON lines as .jsonl") from error
    if not (isinstance(found, list) and found and all(isinstance(row, dict) for row in found)):
        raise InputError(f"{path} is not a list of objects: expected one object with the same keys for each row")
    return _of_objects(found), ()


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error}): repair or remove it") from error
    if not isinstance(row, dict):
        raise InputError(f'{where} is {line[:40]!r}: expected an object such as {{"text": ...}}')
    return row


def _of_objects(rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({_text(name): _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    """One column; values of several kinds become their texts, and halves of surrogate pairs, which no text has, "?"."""
    try:
        return pa.array(values)
    except (pa.ArrowException, UnicodeError, OverflowError):
        if all(isinstance(value, list | None) for value in values):
            values = [value and [_text(one) for one in value] for value in values]
            return pa.array(values, pa.list_(pa.large_string()))
        return pa.array([None if value is None else _text(value) for value in values], pa.large_string())


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()


def _csv(path: Path, data: bytes) -> tuple[pa.Table, tuple[str, ...]]:
    return separated(path, data, ",", True), ()


def _tsv(path: Path, data: bytes) -> tuple[pa.Table, tuple[str, ...]]:
    """Quotes mean something where every line closes those it opens: many a .tsv is written without quoting."""
    quoted = not any(line.count(b'"') % 2 for line in data.split(b"\n"))
    try:
        return separated(path, data, "\t", quoted), ()
    except InputError:
        if quoted:
            raise
        return separated(path, data, "\t", True), ()


def separated(path: Path, data: bytes, delimiter: str, quoted: bool) -> pa.Table:
    """Rows of texts, under the names in the first line."""
    start = io.StringIO(data[: 2**20].decode(errors="replace"), newline="")
    names = next(csv.reader(start, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE), [])
    if len(set(names)) < len(names) or not names:
        raise InputError(f"{path} begins with {', '.join(names)!r}: expected one line with a name for each column")
    try:
        return pyarrow.csv.read_csv(
            io.BytesIO(data),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=min(max(len(data), 2**20), 2**31 - 1)),
            pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
        )
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read ({_short(error)}): repair that row, or quote what it holds") from error


def _parquet(path: Path) -> pa.Table:
    file = pyarrow.parquet.ParquetFile(path)
    return file.read(columns=[field.name for field in file.schema_arrow if _usable(field.type)])


def _usable(kind: pa.DataType) -> bool:
    """Texts, numbers and lists of texts; pictures and vectors in other columns are not even read."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _read_folder(path: Path) -> Table:
    if (path / "dataset_dict.json").is_file():
        names = json.loads((path / "dataset_dict.json").read_text())["splits"]
        parts = [_saved(path / name).append_column(SPLIT, _same(name, path / name)) for name in names]
        return Table(path.resolve().name, str(path), pa.concat_tables(parts, promote_options="default"))
    if (path / "state.json").is_file():
        return Table(path.resolve().name, str(path), _saved(path))
    names = _files(path)
    if not names:
        raise InputError(f"{path} holds no texts: expected .txt files, in any subfolders, or a saved datasets folder")
    layout = read_layout(names)
    texts, bad = [], []
    for name in names:
        data = (path / name).read_bytes().removeprefix(b"\xef\xbb\xbf")
        texts.append(data.decode(errors="replace"))
        if not _valid(data):
            bad.append(name)
    notes = few(bad, len(names), f"files in {path} are not UTF-8", str, "save them as UTF-8")
    rows = {"text": pa.array(texts, pa.large_string()), FILE: pa.array(list(map(_text, names)))}
    if "test" in layout.part:
        rows[SPLIT] = pa.array([part or "outside" for part in layout.part])
    if None not in layout.label:
        rows[LABEL] = pa.array(layout.label)
    return Table(path.resolve().name, str(path), pa.table(rows), notes)


def _files(path: Path) -> list[str]:
    found = []
    for at, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [Path(at, n).relative_to(path).as_posix() for n in names if n[0] != "." and n.lower().endswith(".txt")]
    return sorted(found)


def _same(name: str, path: Path) -> pa.Array:
    return pa.repeat(name, len(_saved(path)))


def _saved(path: Path) -> pa.Table:
    """What `datasets.Dataset.save_to_disk` wrote: streams of Arrow, mapped and so not in memory until they are read."""
    try:
        files = [path / part["filename"] for part in json.loads((path / "state.json").read_text())["_data_files"]]
        tables = [pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in files]
    except (*_BROKEN, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a saved datasets folder ({_short(error)}): save it anew") from error
    rows = pa.concat_tables(tables)
    return rows.select([field.name for field in rows.schema if _usable(field.type)])


def _short(error: BaseException) -> str:
    return str(error).split("\n")[0][:200]


_READERS: dict[str, Callable[[Path, bytes], tuple[pa.Table, tuple[str, ...]]]] = {
    ".txt": _lines,
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": lambda path, data: (_parquet(path), ()),
}
_ENDINGS = f"{', '.join(_READERS)}, packed as {' or '.join(_PACKED)} or not"
