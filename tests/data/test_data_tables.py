"""Rows come from files of many kinds; what is wrong with them is repaired and noted, or said with its line."""

import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from twinlens.data.tables import holds_rows, read
from twinlens.errors import InputError

ROWS = [
    {"text": 'He said "no", é', "label": 1},
    {"text": "two\nlines\tand a tab", "label": 0},
    {"text": "NA", "label": 1},
]


def texts(path: Path) -> list[str]:
    rows: list[str] = read(path).rows["text"].to_pylist()
    return rows


def write(path: Path, kind: str) -> None:
    if kind == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif kind == ".json":
        path.write_text(json.dumps(ROWS))
    elif kind == ".parquet":
        table = pa.Table.from_pylist(ROWS).append_column("image", pa.array([b"1", b"2", b"3"]))
        pyarrow.parquet.write_table(table, path)
    else:
        mark = {".csv": ",", ".tsv": "\t"}[kind]
        rows = ['"{}"{}{}'.format(row["text"].replace('"', '""'), mark, row["label"]) for row in ROWS]  # type: ignore[attr-defined]
        path.write_text("\n".join([f"text{mark}label", *rows]))


@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_every_kind_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"some{kind}"
    write(path, kind)
    table = read(path)
    assert (table.name, table.notes, holds_rows(path)) == ("some", (), True)
    assert table.rows.column_names == ["text", "label"]
    assert texts(path) == [row["text"] for row in ROWS]
    assert [int(label) for label in table.rows["label"].to_pylist()] == [1, 0, 1]
    if kind != ".parquet":
        for packed, pack in ((".gz", gzip.compress), (".xz", lzma.compress)):
            path.with_suffix(kind + packed).write_bytes(pack(path.read_bytes()))
            assert texts(path.with_suffix(kind + packed)) == texts(path)


def test_lines_are_texts_and_blank_ones_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n \n\ntwo ü\n".encode() + b"x" * 100_000)
    table = read(tmp_path / "a.txt")
    assert table.rows["text"].to_pylist() == ["one", "two ü", "x" * 100_000]
    assert table.notes == ("Blank lines of a.txt left out: 2.",)
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n")
    assert read(tmp_path / "a.txt").notes == ()


def test_a_tsv_without_quoting_keeps_its_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"open\t1\nplain\t0\n')
    assert texts(tmp_path / "a.tsv") == ['"open', "plain"]


def test_json_lines_that_arrow_does_not_take_are_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "x": 1}\n\n{"text": 5, "x": "y"}\n{"text": "\\ud800", "x": [1]}\n{"x": null}')
    assert texts(path) == ["a", "5", "?", None]
    path.write_text('{"text": "2020-01-01"}\n{"text": "2020-01-02"}\n')  # no dates, but texts that look like them
    assert texts(path) == ["2020-01-01", "2020-01-02"]
    path.write_text(json.dumps({"text": "x" * 3_000_000}) + '\n{"text": "b"}')
    assert list(map(len, texts(path))) == [3_000_000, 1]


def test_what_is_not_utf8_is_replaced_up_to_one_percent(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = [b"fine"] * 200
    lines[6] = lines[9] = b"na\xefve"
    path.write_bytes(b"\n".join(lines))
    table = read(path)
    assert table.rows["text"].to_pylist()[6] == "na\ufffdve"
    assert table.notes == (f"2 of 200 lines of {path} are not UTF-8, first line 7.",)
    lines[2] = b"\xff"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=r"3 of 200 lines of .* are not UTF-8, first line 3: at most 1 % may be, save"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2 of .*a.jsonl is not JSON"),
        ("a.jsonl", '{"text": "a"}\n["b"]', "line 2 of .*a.jsonl is .*expected an object"),
        ("a.json", '{"text": "a"}', "is not a list of objects"),
        ("a.csv", "text,label\na,1\nb\n", "CSV parse error: .*Row #3.*repair that row"),
        ("a.csv", "text,text\na,1\n", "expected one line with a name for each column"),
        ("a.jsonl.gz", "plain", "cannot be read as jsonl .*damaged or of another kind"),
        ("a.parquet", "plain", "cannot be read as parquet"),
        ("a.doc", "plain", "is not a table that is understood"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=says):
        read(tmp_path / name)


def test_a_folder_of_texts_says_split_and_classes_as_one_of_pictures(tmp_path: Path) -> None:
    for name in ("train/pos/1", "train/neg/2", "test/pos/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(f"text of {name}\nin lines")
    table = read(tmp_path)
    assert holds_rows(tmp_path)
    assert table.rows.to_pylist()[0] == {
        "text": "text of test/pos/3\nin lines", "file": "test/pos/3.txt", "split": "test", "label": "pos",
    }  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no texts"):
        read(tmp_path / "empty")


def test_a_saved_datasets_folder_is_read(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        table = pa.table({"text": [name, "b"], "image": pa.array([{"bytes": b"1"}] * 2)})
        with pa.OSFile(str(tmp_path / name / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
        (tmp_path / name / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    assert read(tmp_path / "train").rows.to_pylist() == [{"text": "train"}, {"text": "b"}]
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert read(tmp_path).rows["split"].to_pylist() == ["train", "train", "test", "test"]
    (tmp_path / "train" / "data.arrow").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read as a saved datasets folder"):
        read(tmp_path)
