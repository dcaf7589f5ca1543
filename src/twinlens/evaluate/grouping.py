"""Which group each sample is of, from a table: by its name, or by its part and its place in it."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from twinlens.batch import Samples
from twinlens.errors import InputError

_BY_NAME, _BY_PLACE = {"name", "group"}, {"part", "index", "group"}


def read(path: Path, parts: Mapping[str, Samples]) -> dict[str, list[str]]:
    """The group of every sample of each part, from a CSV whose first line names its columns.

    Either `name` and `group`, where samples have names (a folder's files; the end of a path will do), or `part`
    (train, test), `index` (from 0) and `group`; these are columns of what `twinlens embed` writes. Other columns do not
    matter. InputError where a sample has no group.
    """
    if not path.is_file():
        raise InputError(
            f"{path} is no file: expected a CSV with the columns name and group, or part, index and group."
        )
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        columns = set(table.fieldnames or ())
        if not (columns >= _BY_NAME or columns >= _BY_PLACE):
            raise InputError(
                f"{path} has the columns {', '.join(sorted(columns)) or 'none'}: expected name and group, or part, "
                f"index and group, in its first line."
            )
        rows = list(table)
    if columns >= _BY_PLACE:
        known: dict[str, str | None] = {f"{row['part']} {row['index']}": row["group"] for row in rows}
        keys = {part: [f"{part} {i}" for i in range(len(samples))] for part, samples in parts.items()}
    else:
        known = _by_ends((row["name"], row["group"]) for row in rows)
        keys = {part: _names(path, samples) for part, samples in parts.items()}
    found = {part: [known.get(key) for key in some] for part, some in keys.items()}
    missing = [key for part, some in keys.items() for key, group in zip(some, found[part], strict=True) if not group]
    if missing:
        raise InputError(
            f"{path} has no group, or several, for {len(missing)} samples (the first: {missing[0]}): give every sample "
            f"one, or leave those samples out."
        )
    return {part: [str(group) for group in some] for part, some in found.items()}


def _by_ends(rows: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """The group by every end of each path; None for an end that paths of several groups share."""
    known: dict[str, str | None] = {}
    for name, group in rows:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            known[end] = group if known.get(end, group) == group else None
    return known


def _names(path: Path, samples: Samples) -> list[str]:
    if samples.names is None:
        raise InputError(
            f"samples of {samples.name} have no names, by which {path} would group them: give the columns part, index "
            f"and group."
        )
    return [str(name) for name in samples.names]
