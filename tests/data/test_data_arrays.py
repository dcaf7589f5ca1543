"""Arrays in every accepted form are the same pictures; every other form is refused with a sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from twinlens.batch import Split
from twinlens.data.arrays import Part, from_arrays
from twinlens.data.load import load
from twinlens.data.pictures import Pictures, Stored
from twinlens.errors import InputError

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 10, 10, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()
LABELS = np.array([2, 5, 2, 9, 5, 2])


def pixels(pictures: Pictures) -> NDArray[np.uint8]:
    return np.asarray(pictures.fetch(torch.arange(len(pictures)))[0])


@pytest.mark.parametrize("array", [GREY, GREY[..., None], GREY[:, None]])
def test_grey_forms(array: NDArray[np.uint8]) -> None:
    train = load(array).train
    assert (pixels(train) == GREY[..., None]).all()
    assert train.aspect.tolist() == [1.0] * 6
    assert train.labels is None


@pytest.mark.parametrize("array", [COLOUR, COLOUR.transpose(0, 3, 1, 2), COLOUR[:, ::-1][:, ::-1]])
def test_colour_forms(array: NDArray[np.uint8]) -> None:
    assert (pixels(load(array).train) == COLOUR).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_the_nearest_of_256(dtype: type) -> None:
    assert (pixels(load((COLOUR / 255).astype(dtype)).train) == COLOUR).all()


def test_floats_are_converted_in_several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinlens.data.arrays._AT_ONCE", 4 * COLOUR[0].size)
    assert (pixels(load(COLOUR / 255).train) == COLOUR).all()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (COLOUR.astype(np.float32), r"values from 0 to 255: float pictures must lie in \[0, 1\]"),
        (np.full((3, 8, 8), -0.1), r"from -0.1 to -0.1"),
        (np.full((3, 8, 8), np.nan), r"without NaN"),
        (np.full((3, 8, 8), np.inf), r"from inf to inf"),
        (COLOUR.astype(np.int64), r"array of int64: expected uint8"),
        (GREY > 9, r"array of bool"),
        (np.zeros((4, 3, 9, 3), np.uint8), r"\(4, 3, 9, 3\), which can be read in two ways"),
        (np.zeros((4, 9, 9, 4), np.uint8), r"cannot be read"[:3]),
        (np.zeros((480, 640, 3), np.uint8), r"\(480, 640, 3\)"),
        (np.zeros((9, 9), np.uint8), r"shape \(9, 9\)"),
        (np.zeros((0, 9, 9), np.uint8), r"shape \(0, 9, 9\)"),
        (GREY[:1], r"has 1 in its part to learn from: expected two pictures"),
    ],
)
def test_other_arrays_are_refused(array: NDArray[Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(array)


def test_pictures_that_are_not_square_are_squashed_with_their_aspect() -> None:
    wide = np.zeros((3, 16, 40, 1), np.uint8)
    wide[:, :, 20:] = 250
    train = load(wide).train
    made = pixels(train)
    assert made.shape == (3, 16, 16, 1)
    assert train.aspect.tolist() == [2.5] * 3
    assert (made[:, :, :7] == 0).all()
    assert (made[:, :, 9:] == 250).all()
    assert load(np.zeros((3, 200, 100), np.uint8), size=32).train.shape == (48, 48, 1)


def test_labels_of_both_parts_index_the_same_classes() -> None:
    split = from_arrays("a", Part(GREY, LABELS), Part(GREY[:2], np.array([9, 3], np.uint8)))
    assert split.test is not None
    assert split.train.classes == split.test.classes == ("2", "3", "5", "9")
    assert split.train.labels is not None
    assert split.test.labels is not None
    assert split.train.labels.tolist() == [0, 2, 0, 3, 2, 0]
    assert split.test.labels.tolist() == [3, 1]
    assert split.test.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (LABELS[:5], r"\(5,\): expected one integer for each picture, \(6,\)"),
        (LABELS / 2, "float64"),
        (LABELS[:, None], "1"),
    ],
)
def test_wrong_labels_are_refused(labels: NDArray[Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_arrays("a", Part(GREY, labels))
    with pytest.raises(InputError, match="labels from 2 to 9: expected 0 to 3"):
        from_arrays("a", Part(GREY, LABELS), classes=("a", "b", "c", "d"))


def test_the_fingerprint_tells_pixels_shape_and_labels_apart() -> None:
    other = GREY.copy()
    other[5, 9, 9] ^= 1
    flat = GREY.reshape(6, 5, 20)[:, :, :5].copy()
    splits = [
        from_arrays("a", Part(GREY)),
        from_arrays("a", Part(other)),
        from_arrays("a", Part(GREY, LABELS)),
        from_arrays("a", Part(GREY, LABELS[::-1].copy())),
        from_arrays("a", Part(flat)),
        from_arrays("a", Part(GREY.reshape(24, 5, 5))),
    ]
    assert len({split.train.fingerprint for split in splits}) == len(splits)
    assert from_arrays("b", Part(GREY / 255)).train.fingerprint == splits[0].train.fingerprint


@pytest.mark.parametrize("names", [("x_train", "y_train"), ("x", "y"), ("images", "labels")])
def test_npz(tmp_path: Path, names: tuple[str, str]) -> None:
    np.savez(tmp_path / "a.npz", **{names[0]: COLOUR, names[1]: LABELS})
    split = load(tmp_path / "a.npz")
    assert split.test is None
    assert (pixels(split.train) == COLOUR).all()
    assert split.train.classes == ("2", "5", "9")
    assert split.train.name == "a"


def test_npz_with_a_test_part_and_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=COLOUR, x_test=COLOUR[:2])
    split = load(str(tmp_path / "a.npz"))
    assert split.test is not None
    assert len(split.test) == 2
    assert split.train.labels is split.test.labels is None
    np.savez(tmp_path / "b.npz", x_train=COLOUR, x_test=GREY)
    with pytest.raises(InputError, match="others of"):
        load(tmp_path / "b.npz")


def test_npz_with_other_names_lists_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=COLOUR, target=LABELS)
    with pytest.raises(InputError, match=r"holds the arrays data, target: expected x_train"):
        load(tmp_path / "a.npz")


def test_npy_is_read_from_its_file_where_it_holds_the_pixels_as_they_are(tmp_path: Path) -> None:
    def saved(array: NDArray[Any]) -> Split:
        np.save(tmp_path / "a.npy", array)
        return load(tmp_path / "a.npy")

    for array, kept in ((COLOUR, True), (GREY, True), (COLOUR.transpose(0, 3, 1, 2), False), (COLOUR / 255, False)):
        split = saved(array)
        assert isinstance(split.train.pixels, Stored) == kept
        assert (pixels(split.train) == (GREY[..., None] if array is GREY else COLOUR)).all()
    assert isinstance(saved(np.asfortranarray(COLOUR)).train.pixels, torch.Tensor)
    assert (pixels(saved(np.asfortranarray(COLOUR)).train) == COLOUR).all()


def test_a_part_of_a_mapped_array_begins_where_it_does(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", COLOUR)
    part = np.load(tmp_path / "a.npy", mmap_mode="r")[2:]
    assert (pixels(load(part).train) == COLOUR[2:]).all()
    written = np.load(tmp_path / "a.npy", mmap_mode="c")
    written[0] = 7
    assert (pixels(load(written).train)[0] == 7).all()


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut", None])
def test_damaged_files_and_python_objects_are_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    objects = np.array([print, None], dtype=object)
    if content is not None:
        path.write_bytes(content)
    elif name == "a.npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, x=objects)
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        load(path)


def test_a_read_only_array_is_used_without_a_warning() -> None:
    frozen = GREY.copy()
    frozen.flags.writeable = False
    assert (pixels(load(frozen).train)[..., 0] == GREY).all()
