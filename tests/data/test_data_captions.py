"""Pictures and captions find each other, however they are stored; what has no other side is named."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from twinlens.batch import Samples
from twinlens.data.captions import lists_captions, load_captions
from twinlens.data.load import modality
from twinlens.data.pairs import Pairs
from twinlens.data.pictures import Pictures
from twinlens.data.source import Source
from twinlens.data.text import Texts
from twinlens.data.tokenizer import Tokenizer
from twinlens.errors import InputError

TOKENIZER = Tokenizer.train(["the number 0 1 2 3 4 5 6 7 8 9"] * 3, vocabulary=100)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def picture(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level,) * 3).save(file, "png")
    return file.getvalue()


def put(root: Path, files: Mapping[str, bytes | str | int]) -> None:
    """Files by their names: a number is a picture of that level."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        content = picture(content) if isinstance(content, int) else content
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)


def pack(path: Path, files: Mapping[str, bytes | str | int]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = picture(content) if isinstance(content, int) else content
            data = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def load(path: Path, **columns: str) -> Any:
    return load_captions(Source(path=str(path), **columns), tokenizer=TOKENIZER)


def matched(pairs: Samples) -> list[tuple[int, str]]:
    """The level of each picture with its caption, both by what `fetch` gives."""
    assert isinstance(pairs, Pairs) and isinstance(pairs.parts[0], Pictures) and isinstance(pairs.parts[1], Texts)
    pixels, _, ids, lengths, *_ = pairs.fetch(torch.arange(len(pairs)))
    said = [TOKENIZER.text(some) for some in ids.split(lengths.tolist())]
    assert said == [pairs.parts[1].text(i) for i in range(len(pairs))]
    return list(zip(pixels[:, 0, 0, 0].tolist(), said))


def test_a_text_beside_each_picture(root: Path) -> None:
    put(root, {"train/b/1.png": 1, "train/b/1.txt": "1\n", "train/a/2.png": 2, "train/a/2.txt": "2"})
    put(root, {"test/a/3.png": 3, "test/a/3.txt": "3"})
    split = load(root)
    assert matched(split.train) == [(2, "2"), (1, "1")] and matched(split.test) == [(3, "3")]
    assert (split.train.modality, split.train.classes) == ("image+text", ("a", "b"))
    assert split.train.labels.tolist() == [0, 1] and split.test.labels.tolist() == [0]
    assert split.train.names == ["train/a/2.png", "train/b/1.png"]
    assert dict(split.train.sizes) == {"channels": 3, "vocabulary": TOKENIZER.vocabulary}
    assert split.train.lengths.tolist() == [1, 1] and split.train.notes == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.csv", "image,caption\na/1.png,1\n2.png,2\n./2.png,22\na/3.png,3\n"),
        ("captions.tsv", "file\ttext\na/1.png\t1\n2.png\t2\n2.png\t22\na/3.png\t3\n"),
        ("captions.txt", "a/1.png\t1\n2.png\t2\n2.png\t22\n3.png\t3\n"),
        ("captions.txt", "image,caption\na/1.png,1\n2.png,2\n2.png,22\n3.png,3\n"),
        ("metadata.jsonl", '{"file_name": "1.png", "text": "1"}\n{"file_name": "2.png", "text": "2"}\n'
         '{"file_name": "2.png", "text": "22"}\n{"file_name": "3.png", "text": "3"}'),
        ("captions.json", json.dumps([{"path": f"x/{i}.png", "name": [str(i if i != 4 else 22), "other"]} if i != 4 else
         {"path": "2.png", "name": ["22"]} for i in (1, 2, 4, 3)])),
    ],
)  # fmt: skip
def test_a_list_of_captions(name: str, content: str, root: Path) -> None:
    put(root, {"a/1.png": 1, "2.png": 2, "a/3.png": 3, name: content})
    split = load(root)
    assert matched(split.train) == [(1, "1"), (2, "2"), (2, "22"), (3, "3")]
    assert split.test is None and split.train.labels is None and split.train.notes == ()


def test_paths_from_elsewhere_are_found_by_their_ends_if_these_are_of_one_picture(root: Path) -> None:
    put(root, {"a/1.png": 1, "b/1.png": 2, "captions.csv": "file,caption\n/home/me/a/1.png,1\nphotos\\b\\1.png,2\n"})
    assert matched(load(root).train) == [(1, "1"), (2, "2")]
    put(root, {"captions.csv": "file,caption\nb/1.png,2\na/1.png,1\n1.png,1\n"})
    pairs = load(root).train  # one of three has no picture: which of two is meant is not guessed
    assert matched(pairs) == [(2, "2"), (1, "1")] and "first '1.png'" in pairs.notes[0]


def test_columns_say_split_class_and_rows(root: Path) -> None:
    rows = [
        {"file": f"{i}.png", "name": str(i), "de": f"0 {i}", "group": "ab"[i % 2], "split": part}
        for i, part in enumerate(["train", "test", "train", "dev", "train"])
    ]
    put(root, {f"{i}.png": i for i in range(5)} | {"captions.json": json.dumps(rows)})
    split = load(root)
    assert matched(split.train) == [(0, "0"), (2, "2"), (4, "4")] and matched(split.test) == [(1, "1")]
    assert split.test.classes == ("a", "b") and split.test.labels.tolist() == [1]
    assert split.train.notes == ("Rows left out because they are neither for training nor for testing: dev (1).",)
    assert matched(load(root, text="de", where="split=train").train) == [(0, "0 0"), (2, "0 2"), (4, "0 4")]
    with pytest.raises(InputError, match="has no column 'fr'"):
        load(root, text="fr")


def test_shards_of_webdataset(root: Path) -> None:
    pack(root / "train-0.tar", {"x/1.jpg": 1, "x/1.txt": "1", "x/2.json": '{"caption": "2"}', "x/2.png": 2})
    pack(root / "train-1.tar", {"x/1.png": 3, "x/1.json": '{"text": ["3", "33"]}', "x/1.b.txt": "no"})
    pack(root / "test-0.tar", {"x/1.webp": 4, "x/1.txt": "4"})
    split = load(root)
    assert matched(split.train) == [(1, "1"), (2, "2"), (3, "3")] and matched(split.test) == [(4, "4")]
    assert matched(load(root / "train-0.tar").train) == [(1, "1"), (2, "2")]
    assert split.train.names[0] == "train-0.tar/x/1.jpg"
    pack(root / "train-0.tar", {"1.jpg": 1, "1.txt": "1", "1.cls": "7", "2.png": 2, "2.txt": "2", "2.cls": "9"})
    assert load(root / "train-0.tar").train.classes == ("7", "9")
    pack(root / "bare.tar", {"1.jpg": 1})
    with pytest.raises(InputError, match=r"bare\.tar holds no pictures with captions"):
        load(root / "bare.tar")
    (root / "broken.tar").write_bytes(b"no tar at all" * 99)
    with pytest.raises(InputError, match=r"broken\.tar cannot be read as \.tar"):
        load(root / "broken.tar")


def test_what_lacks_its_other_side_is_left_out_up_to_one_percent(root: Path) -> None:
    put(root, {f"{i:03}.png": i % 3 for i in range(200)} | {f"{i:03}.txt": str(i % 3) for i in range(200)})
    (root / "007.txt").unlink()
    (root / "008.txt").write_text(" ")
    (root / "009.png").write_bytes(b"damaged")
    train = load(root).train
    assert len(train) == 197 and all(str(level) == said for level, said in matched(train))
    assert [note.split(" ")[0] for note in train.notes] == ["1"] * 3
    assert "first 007.png" in train.notes[1] and "could not be read, first 009.png" in train.notes[2]
    for i in (1, 2):
        (root / f"00{i}.txt").unlink()
    with pytest.raises(
        InputError, match=r"3 of 200 pictures of .* have no caption, first 001\.png: at most 1 % may be"
    ):
        load(root)
    put(root, {"captions.csv": "file,caption\n" + "".join(f"{i:03}.png,1\n" for i in range(206) if i != 9)})
    with pytest.raises(InputError, match=r"6 of 205 captions of .* have no picture, first '200\.png'"):
        load(root)


def test_pictures_without_captions_are_left_to_others(root: Path) -> None:
    put(root, {"1.png": 1, "2.png": 2, "3.png": 3, "1.txt": "a note"})
    assert load(root) is None
    put(root, {"metadata.csv": "file_name,width\n1.png,8\n"})
    assert load(root) is None
    assert load(root / "1.png") is None and load(root / "nowhere") is None
    put(root, {"captions.csv": "file,words\n1.png,8\n"})
    with pytest.raises(InputError, match="has the columns file, words: expected one called caption or"):
        load(root)
    put(root, {"captions.csv": "who,caption\n1.png,8\n"})
    with pytest.raises(InputError, match="has the columns who, caption: expected one called file or image or"):
        load(root)


@pytest.mark.parametrize(
    ("name", "line", "text", "expected"),
    [
        ("metadata.csv", "file_name,width", "", False),
        ("metadata.csv", "file_name,Text", "", True),
        ("metadata.csv", "file_name,prompt", "prompt", True),
        ("metadata.jsonl", '{"file_name": "1.png", "text": "one"}', "", True),
        ("metadata.jsonl", '{"id": "1.png", "age": 3}', "", False),
        ("captions.csv", "who,caption", "", True),
        ("labels.csv", "file,caption", "", False),
    ],
)
def test_metadata_is_a_list_of_captions_where_its_columns_say_so(
    name: str, line: str, text: str, expected: bool, root: Path
) -> None:
    put(root, {"1.png": 1, name: line + "\n"})
    assert lists_captions(root / name, text) is expected
    assert (modality(Source(path=str(root), text=text)) == "image+text") is expected


def test_a_tokenizer_is_trained_on_captions_to_learn_from(root: Path) -> None:
    put(root, {"captions.csv": "file,caption,split\n1.png,aa,train\n2.png,aa,train\n3.png,zz,test\n"})
    put(root, {"1.png": 1, "2.png": 2, "3.png": 3})
    split = load_captions(Source(path=str(root), vocabulary=64))
    assert split is not None and split.test is not None
    assert split.train.parts[1].tokenizer.text(split.test.fetch(torch.arange(1))[2]) == "[UNK]"  # type: ignore[attr-defined]
