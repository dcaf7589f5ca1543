"""A folder becomes samples: what is found, its classes and split, what cannot be read, and the cache beneath."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twinlens.data import cache, folder
from twinlens.data.folder import list_files, read_layout
from twinlens.data.load import load
from twinlens.data.pictures import Pictures
from twinlens.errors import InputError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def put(path: Path, level: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    """A picture of one colour, whose level says which file it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (level,) * len(mode) if len(mode) > 1 else level).save(path)


def levels(pictures: Pictures) -> list[int]:
    return pictures.fetch(torch.arange(len(pictures)))[0][:, 0, 0, 0].tolist()


def test_pictures_are_found_at_any_depth_and_hidden_ones_are_not(root: Path) -> None:
    for i, name in enumerate(["b.PNG", "a/x.png", "a/deep/er/y.WebP", ".hidden.png", ".git/z.png", "a/._x.png"]):
        put(root / "tmp.webp" if name.endswith("WebP") else root / "tmp.png", i)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / ("tmp.webp" if name.endswith("WebP") else "tmp.png")).rename(root / name)
    (root / "notes.txt").write_text("no picture")
    (root / "c.jpeg").symlink_to(root / "b.PNG")
    (root / "a" / "circle").symlink_to(root)
    assert [file.name for file in list_files(root)] == ["a/deep/er/y.WebP", "a/x.png", "b.PNG", "c.jpeg"]
    assert levels(load(root).train)[1:] == [1, 0, 0]


@pytest.mark.parametrize(
    ("names", "part", "label"),
    [
        (["x", "y"], ["train"] * 2, [None] * 2),
        (["cat/1", "dog/a/2"], ["train"] * 2, ["cat", "dog"]),
        (["cat/1", "2"], ["train"] * 2, [None] * 2),
        (["all/in/one/cat/1", "all/in/one/dog/2"], ["train"] * 2, ["cat", "dog"]),
        (["train/cat/1", "train/dog/2"], ["train"] * 2, ["cat", "dog"]),
        (["train/cat/1", "test/cat/1"], ["train", "test"], ["cat", "cat"]),
        (["Train/cat/1", "Validation/dog/1"], ["train", "test"], ["cat", "dog"]),
        (["train/a/1", "val/a/1", "test/b/1", "x/1", "2"], ["train", "", "test", "", ""], ["a", None, "b", None, None]),
        (["train/1", "test/dog/1"], ["train", "test"], [None, "dog"]),
        (["set/train/cat/1", "set/valid/cat/1"], ["train", "test"], ["cat", "cat"]),
        (["train/1", "plane/2"], ["train"] * 2, ["train", "plane"]),  # a class of vehicles, not a split
    ],
)  # fmt: skip
def test_names_say_the_split_and_the_classes(names: list[str], part: list[str], label: list[str | None]) -> None:
    assert read_layout(names) == (part, label)


def test_classes_are_shared_by_both_parts(root: Path) -> None:
    for i, name in enumerate(["train/b/0", "train/c/1", "train/b/2", "test/a/3", "test/c/4", "other/5"]):
        put(root / f"{name}.png", i)
    split = load(root)
    assert split.test is not None
    assert split.train.classes == split.test.classes == ("a", "b", "c")
    assert levels(split.train) == [0, 2, 1]
    assert split.train.labels is not None
    assert split.test.labels is not None
    assert split.train.labels.tolist() == [1, 1, 2]
    assert levels(split.test) == [3, 4]
    assert split.test.labels.tolist() == [0, 2]
    assert split.train.fingerprint != split.test.fingerprint
    assert split.train.notes == (
        "Pictures left out because they lie outside the folders of the split: 1, first other/5.png.",
    )


def test_one_class_alone_is_no_class(root: Path) -> None:
    for name in "ab":
        put(root / "only" / f"{name}.png")
    assert load(root).train.labels is None
    for name in ("train/cat/a", "train/cat/b", "test/cat/c"):
        put(root / f"{name}.png")
    split = load(root)
    assert split.test is not None
    assert len(split.train) == 2
    assert split.train.labels is split.test.labels is None
    assert split.train.classes == ()


def test_mixed_sizes_are_squashed_and_small_squares_are_not(root: Path) -> None:
    for i in range(3):
        put(root / f"{i}.png", i, (20, 20))
    assert load(root).train.shape == (20, 20, 3)
    put(root / "wide.png", 9, (200, 120))
    put(root / "tall.png", 9, (100, 200))
    put(root / "flat.png", 9, (800, 100))
    train = load(root).train
    assert train.shape == (64, 64, 3)  # the median shorter side is (20 + 100) / 2 = 60
    assert train.aspect.tolist() == [1, 1, 1, 8, 0.5, pytest.approx(200 / 120)]
    assert load(root, size=32).train.shape == (48, 48, 3)


def test_one_channel_only_if_every_picture_is_grey(root: Path) -> None:
    put(root / "a.png", 7, mode="L")
    put(root / "b.png", 8, mode="LA")
    assert load(root).train.shape == (8, 8, 1)
    put(root / "c.png", 9)
    assert load(root).train.shape == (8, 8, 3)


@pytest.mark.parametrize("late", [False, True])  # found by its header, or only when decoded
def test_one_unreadable_file_is_left_out_and_named(root: Path, late: bool) -> None:
    for i in range(4):
        put(root / "ab"[i % 2] / f"{i}.png", i, (64, 64))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "a" / "1.png")
    content = (root / "a" / "1.png").read_bytes()
    (root / "a" / "1.png").write_bytes(content[:2000] if late else b"")
    for _ in range(2):  # decoded, then from the cache
        train = load(root).train
        assert levels(train) == [0, 2, 1, 3]
        assert train.labels is not None
        assert train.labels.tolist() == [0, 0, 1, 1]
        assert train.notes == ("1 of 5 pictures could not be read and were left out: a/1.png.",)


def test_more_than_one_percent_and_one_file_unreadable_is_refused(root: Path) -> None:
    put(root / "000.png")
    for i in range(1, 200):
        shutil.copy(root / "000.png", root / f"{i:03}.png")
    for i in (7, 70):  # 2 of 200 are 1 %
        (root / f"{i:03}.png").write_bytes(b"text")
    assert len(load(root).train) == 198
    (root / "100.png").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(InputError, match=r"3 of 200 pictures in .*photos cannot be read, the first is 007\.png"):
            load(root)
    assert not list(cache.folder().glob("*.part"))


def test_a_broken_link_and_a_name_that_is_no_text_are_named(root: Path) -> None:
    for i in range(3):
        put(root / f"{i}.png")
    (root / "gone.jpg").symlink_to(root / "nowhere")
    assert "gone.jpg" in load(root).train.notes[0]
    (root / "gone.jpg").unlink()
    with open(os.fsencode(root) + b"/\xff.jpg", "wb"):
        pass
    assert load(root).train.notes[0].encode().endswith("left out: \ufffd.jpg.".encode())


def test_too_many_files_that_break_only_when_decoded_are_refused_too(root: Path) -> None:
    put(root / "a.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("b.png", "c.png", "d.png"):
        Image.fromarray(noise).save(root / name)
        (root / name).write_bytes((root / name).read_bytes()[: None if name == "b.png" else 2000])
    for _ in range(2):
        with pytest.raises(InputError, match=r"2 of 4 pictures in .* the first is c\.png"):
            load(root)


@pytest.mark.parametrize(("count", "says"), [(0, "holds no pictures"), (1, "holds 1 picture: expected")])
def test_too_few_pictures_are_refused(root: Path, count: int, says: str) -> None:
    root.mkdir()
    for i in range(count):
        put(root / f"{i}.png")
    with pytest.raises(InputError, match=says):
        load(root)


def test_two_files_of_which_one_is_readable_are_refused(root: Path) -> None:
    put(root / "a.png")
    (root / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"fewer than two pictures that can be read; b\.png cannot"):
        load(root)
    put(root / "train" / "a.png")
    put(root / "test" / "a.png")
    with pytest.raises(InputError, match="the folder train in photos holds fewer than two"):
        load(root)


def test_pictures_are_decoded_once_for_each_content(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    hashed: list[Path] = []
    decode, digest = folder.decode, folder._digest
    monkeypatch.setattr(folder, "decode", lambda path, *shape: decoded.append(path) or decode(path, *shape))
    monkeypatch.setattr(folder, "_digest", lambda path: hashed.append(path) or digest(path))

    def work() -> tuple[int, int]:
        before = len(hashed), len(decoded)
        load(root)
        return len(hashed) - before[0], len(decoded) - before[1]

    for i in range(3):
        put(root / f"{i}.png", i)
    first = load(root).train
    assert (len(hashed), len(decoded)) == (3, 3)
    assert work() == (0, 0)
    os.utime(root / "0.png", ns=(1, 1))  # another time, the same bytes
    assert work() == (3, 0)
    root.rename(root.with_name("moved"))
    root = root.with_name("moved")
    assert work() == (3, 0)
    assert load(root).train.fingerprint == first.fingerprint
    put(root / "0.png", 77)
    assert work() == (3, 3)
    assert levels(load(root).train) == [77, 1, 2]
    assert load(root).train.fingerprint != first.fingerprint
    load(root, size=16)
    assert len(decoded) == 9  # another stored size is other pixels, of the same content
    assert levels(first) == [0, 1, 2]
