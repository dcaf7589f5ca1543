"""A table's columns by what they are: texts, the sides of pairs, scores, labels, and which part a row belongs to."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twinlens.data.source import Source
from twinlens.data.tables import FILE, Table, few
from twinlens.errors import InputError

_TEXT = ("text", "sentence", "content", "review", "document")
_PAIRS = (
    ("anchor", "positive"),
    ("query", "positive"),
    ("query", "passage"),
    ("question", "answer"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
    ("s1", "s2"),
    ("premise", "hypothesis"),
    ("text", "paraphrase"),
)
_SCORE = ("score", "similarity_score", "similarity")
LABELS = ("label", "labels", "class", "category")
_SPLIT = ("split",)
_TRAIN, _TEST = ("train", "training"), ("test", "testing")
_ASIDE = ("dev", "val", "valid", "validation")


class Rows(NamedTuple):
    """One part of a table: `sides` of equal length (one: texts; more: pairs), and labels (N,) as `Samples` has them."""

    sides: tuple[pa.LargeStringArray, ...]
    labels: NDArray[Any] | None
    classes: tuple[str, ...]
    names: list[str] | None


class Parts(NamedTuple):
    """The rows to learn from, those held out, and what was left out."""

    train: Rows
    test: Rows | None
    notes: tuple[str, ...]


def choose(table: Table, source: Source) -> Parts:
    """The rows of `table` by their source. Raises InputError where one that is named or needed is missing."""
    rows = where(table, source.where)
    sides = [joined(table, rows, name) for name in _sides(table, source)]
    sides += _negatives(table, rows, source)
    part, notes = split(table, rows, source)
    kept, more = filled(table, sides, part)
    labels, classes, others = labelled(table, rows, source, paired=len(sides) > 1)
    notes += (*more, *others)
    names = rows[FILE].to_pylist() if FILE in rows.column_names else None

    def of(name: str) -> Rows:
        at = np.flatnonzero(kept & (part == name))
        own = tuple(side.take(pa.array(at)) for side in sides)
        mine = complete(labels, at)
        return Rows(own, mine, classes if mine is not None else (), names and [names[i] for i in at])

    if (part[kept] == "train").sum() < 2:
        raise InputError(f"{table.source} has fewer than two rows to learn from: expected texts in its training part")
    return Parts(of("train"), of("test") if (part[kept] == "test").any() else None, (*table.notes, *notes))


def where(table: Table, condition: str) -> pa.Table:
    """The rows that meet a condition such as "lang=en,task=TREC"."""
    rows = table.rows
    for term in filter(None, condition.split(",")):
        name, equals, value = (some.strip() for some in term.partition("="))
        if not equals:
            raise InputError(f"where is {condition!r}: expected column=value, several separated by commas")
        known = text_of(column(table, rows, name))
        rows = rows.filter(pc.equal(known, value))
        if not len(rows):
            there = sorted(map(str, pc.unique(known).to_pylist()))
            raise InputError(f"no row of {table.source} has {name}={value}: there are {_listed(there)}")
    return rows


def column(table: Table, rows: pa.Table, name: str) -> pa.Array:
    """The column `name`, in one piece."""
    if name not in rows.column_names:
        raise InputError(
            f"{table.source} has no column {name!r}: expected one of {_listed(rows.column_names) or 'its columns'}"
        )
    found = rows[name].combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def text_of(values: pa.Array) -> pa.LargeStringArray:
    """Values as texts, "" where there is none; of lists of texts their first."""
    if pa.types.is_nested(values.type):
        if not pa.types.is_list(values.type) and not pa.types.is_large_list(values.type):
            return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.large_string())
        values = pa.array([str(some[0]) if some else None for some in values.to_pylist()], pa.large_string())
    return pc.fill_null(values.cast(pa.large_string()), "")


def joined(table: Table, rows: pa.Table, names: str) -> pa.LargeStringArray:
    """The texts of a column, or of several named with "+" between them, joined by a space."""
    several = [text_of(column(table, rows, name.strip())) for name in names.split("+")]
    return (
        several[0]
        if len(several) == 1
        else pc.utf8_trim_whitespace(pc.binary_join_element_wise(*several, pa.scalar(" ", pa.large_string())))
    )


def recognised(table: Table, names: Sequence[str]) -> str:
    """The first of the usual `names` that the table has, in whatever case; "" if it has none."""
    there = {name.lower(): name for name in reversed(table.rows.column_names)}
    return next((there[name] for name in names if name in there), "")


def _sides(table: Table, source: Source) -> list[str]:
    """The column of the texts, or those of the first and the second side."""
    if source.text:
        return [source.text, *filter(None, [source.positive])]
    pairs = [(recognised(table, [first]), recognised(table, [second])) for first, second in _PAIRS]
    if source.positive:
        firsts = [first for first, _ in pairs if first and first != source.positive]
        if not firsts:
            raise InputError(
                f"{table.source} has no column that is known to go with {source.positive!r}: name it by text"
            )
        return [firsts[0], source.positive]
    if found := next((pair for pair in pairs if all(pair)), None):
        return list(found)
    if text := recognised(table, _TEXT):
        return [text]
    raise InputError(
        f"{table.source} has the columns {_listed(table.rows.column_names)}: expected one called {', '.join(_TEXT)}, "
        "or name those that hold texts by text and positive"
    )


def _negatives(table: Table, rows: pa.Table, source: Source) -> list[pa.Array]:
    """Each negative of a row as a column of its own."""
    names = [name.strip() for name in source.negative.split(",") if name.strip()]
    if not names and not source.text:
        there = [name for name in rows.column_names if name.lower().rstrip("0123456789") in ("negative", "negative_")]
        names = sorted(there, key=lambda name: (len(name), name)) or list(
            filter(None, [recognised(table, ["negatives"])])
        )
        names = names if recognised(table, [second for _, second in _PAIRS]) or source.positive else []
    found = []
    for name in names:
        values = column(table, rows, name)
        if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
            found.append(text_of(values))
            continue
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        if len(set(lengths)) > 1 or not lengths[:1].all():
            first = int(np.argmax(lengths != lengths[0]))
            raise InputError(
                f"row {first + 1} of {table.source} has {lengths[first]} {name}, row 1 has {lengths[0]}: "
                "expected lists of one length"
            )
        found += [text_of(pc.list_element(values, place)) for place in range(lengths[0])]
    return found


def split(table: Table, rows: pa.Table, source: Source) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """The part of each row, "train", "test" or "" for neither, and a note on those of neither."""
    name = source.split or recognised(table, _SPLIT)
    chosen = [term.partition("=")[0].strip() for term in source.where.split(",")]
    everything = np.full(len(rows), "train", dtype="<U5")
    if not name or name in chosen:
        return everything, ()
    values = pc.utf8_lower(pc.utf8_trim_whitespace(text_of(column(table, rows, name))))
    there = set(pc.unique(values).to_pylist())
    if not there & {*_TRAIN, *_TEST, *_ASIDE} and not source.split:
        return everything, ()  # another meaning of the word
    train, test = (pc.is_in(values, pa.array(names, pa.large_string())).to_numpy(False) for names in (_TRAIN, _TEST))
    if not train.any():
        first = next(iter(sorted(there)))
        raise InputError(
            f"the column {name!r} of {table.source} says {_listed(sorted(there))}: expected train and test; say what "
            f"to learn from by where, such as {name}={first}"
        )
    part = np.where(train, "train", np.where(test, "test", ""))
    others = pc.value_counts(values.filter(pa.array(part == ""))).to_pylist()
    said = ", ".join(f"{one['values'] or 'none'} ({one['counts']:,})" for one in others)
    return part, (f"Rows left out because they are neither for training nor for testing: {said}.",) if others else ()


def filled(
    table: Table, sides: Sequence[pa.Array], part: NDArray[np.str_]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which rows have text on every side. Pairs that lack one are a mistake if many; a text that is empty is not."""
    kept = np.ones(len(part), dtype=bool)
    for side in sides:
        kept &= pc.not_equal(pc.utf8_trim_whitespace(side), "").to_numpy(zero_copy_only=False)
    empty: list[int] = np.flatnonzero(~kept & (part != "")).tolist()
    if len(sides) > 1:
        return kept, few(
            empty, int((part != "").sum()), f"pairs of {table.source} lack a side and were left out",
            lambda row: f"row {row + 1}", "complete or remove them",
        )  # fmt: skip
    return kept, (f"Empty texts of {table.source} left out: {len(empty):,}, first row {empty[0] + 1}.",) if len(
        empty
    ) else ()


def labelled(
    table: Table, rows: pa.Table, source: Source, *, paired: bool
) -> tuple[NDArray[Any] | None, tuple[str, ...], tuple[str, ...]]:
    """Labels (N,): float64 scores, NaN where there is none, or int64 classes, -1 where there is none; and a note."""
    score = source.score or (recognised(table, _SCORE) if paired and not source.label else "")
    if score:
        return _numbers(table, rows, score), (), ()
    if not (name := source.label or recognised(table, LABELS)):
        return None, (), ()
    found = column(table, rows, name)
    if pa.types.is_nested(found.type):
        return None, (), (f"The column {name!r} holds lists or objects, which are no labels.",)
    texts = text_of(found)
    classes = in_order(filter(None, pc.unique(texts).to_pylist()))
    if pa.types.is_floating(found.type) and not all(float(one).is_integer() for one in classes):
        return _numbers(table, rows, name), (), ()
    if len(classes) < 2:
        return None, (), ()
    labels = pc.fill_null(pc.index_in(texts, pa.array(classes, pa.large_string())), -1).to_numpy(False).astype(np.int64)
    missing = int((labels < 0).sum())
    note = f"Rows without a label: {missing:,} of {len(labels):,}; a part that has any is used without labels."
    return labels, tuple(classes), (note,) if missing else ()


def complete(labels: NDArray[Any] | None, at: NDArray[np.int64]) -> NDArray[Any] | None:
    """The labels at `at` (n,), None if one of them is missing."""
    if labels is None or (np.isnan(labels[at]) if labels.dtype.kind == "f" else labels[at] < 0).any():
        return None
    return labels[at]


def in_order(names: Iterable[str]) -> list[str]:
    """Distinct names sorted: as numbers if all are whole numbers."""
    distinct = sorted(set(names))
    whole = all(name.removeprefix("-").isdecimal() for name in distinct)
    return sorted(distinct, key=int) if whole else distinct


def _numbers(table: Table, rows: pa.Table, name: str) -> NDArray[np.float64]:
    found = column(table, rows, name)
    try:
        values: NDArray[np.float64] = found.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise InputError(
            f"the column {name!r} of {table.source} is no number everywhere ({error}): name another"
        ) from error
    return values


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
