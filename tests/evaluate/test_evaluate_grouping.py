"""Groups from a table: by name or by place, none missing, none ambiguous."""

from pathlib import Path

import pytest
from support import Noise

from twinlens.errors import InputError
from twinlens.evaluate.grouping import read


def samples(count: int, names: list[str] | None = None) -> Noise:
    made = Noise(count)
    made.names = names
    return made


def table(folder: Path, text: str) -> Path:
    (folder / "g.csv").write_text(text)
    return folder / "g.csv"


def test_by_part_and_place_in_any_order_beside_other_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "label,group,index,part\n7,b,1,train\n7,c,0,test\n7,a,0,train\n")
    assert read(path, {"train": samples(2), "test": samples(1)}) == {"train": ["a", "b"], "test": ["c"]}


def test_by_name_or_by_the_end_of_a_path(tmp_path: Path) -> None:
    path = table(tmp_path, "name,group\n/data/cats/1.jpg,a\ndata\\dogs\\1.jpg,b\ncats/2.jpg,c\n")
    parts = {"train": samples(2, ["cats/1.jpg", "cats/2.jpg"]), "test": samples(1, ["dogs/1.jpg"])}
    assert read(path, parts) == {"train": ["a", "c"], "test": ["b"]}


def test_an_end_that_paths_of_two_groups_share_names_none_of_them(tmp_path: Path) -> None:
    path = table(tmp_path, "name,group\ncats/1.jpg,a\ndogs/1.jpg,b\ncats/2.jpg,a\ndogs/2.jpg,a\n")
    assert read(path, {"test": samples(1, ["2.jpg"])}) == {"test": ["a"]}
    with pytest.raises(InputError, match=r"no group, or several, for 1 samples \(the first: 1.jpg\)"):
        read(path, {"test": samples(1, ["1.jpg"])})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,group\n", "no group, or several, for 2 samples"),
        ("part,index,group\ntrain,0,a\n", r"for 1 samples \(the first: train 1\)"),
        ("part,index,group\ntrain,0,a\ntrain,1,\n", r"the first: train 1"),
        ("name\nx\n", "has the columns name: expected name and group"),
        ("", "has the columns none"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(table(tmp_path, text), {"train": samples(2, ["x", "y"])})


def test_without_names_a_table_of_names_is_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="samples of noise have no names"):
        read(table(tmp_path, "name,group\nx,a\n"), {"train": samples(1)})
    with pytest.raises(InputError, match="is no file"):
        read(tmp_path / "other.csv", {"train": samples(1)})
