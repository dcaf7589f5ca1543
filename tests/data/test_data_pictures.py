"""Pictures are the same whatever holds them: memory, a file, a subset of a subset."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twinlens.data.pictures import Pictures, Stored
from twinlens.errors import InputError

N, S = 7, 5


def in_memory(channels: int = 3) -> Pictures:
    pixels = torch.arange(N * S * S * channels).remainder(251).byte().view(N, S, S, channels)
    labels = np.arange(N) % 3
    return Pictures(
        name="p",
        pixels=pixels,
        aspect=torch.arange(1.0, N + 1),
        fingerprint="f",
        labels=labels,
        classes=("a", "b", "c"),
    )


def in_file(folder: Path) -> Pictures:
    memory = in_memory()
    path = folder / "rows"
    path.write_bytes(b"header" + memory.pixels.numpy().tobytes())
    return Pictures(name="p", pixels=Stored(path, memory.pixels.shape, 6), aspect=memory.aspect, fingerprint="f")


@pytest.mark.parametrize("index", [[3], [6, 0, 6, 2], []])
def test_fetch_gives_the_rows_asked_for_in_that_order(tmp_path: Path, index: list[int]) -> None:
    at = torch.tensor(index, dtype=torch.int64)
    for pictures in (in_memory(), in_file(tmp_path)):
        pixels, aspect = pictures.fetch(at)
        assert torch.equal(pixels, in_memory().pixels[at])
        assert aspect.tolist() == [i + 1.0 for i in index]
        assert pixels.dtype == torch.uint8


@pytest.mark.parametrize("stored", [False, True])
def test_subset_of_a_subset_shares_the_storage_and_follows_every_field(tmp_path: Path, stored: bool) -> None:
    whole = in_file(tmp_path) if stored else in_memory()
    part = whole.subset(torch.tensor([6, 4, 2, 0])).subset(torch.tensor([3, 1]))
    assert part.pixels is whole.pixels
    assert len(part) == 2
    assert part.nbytes == 2 * S * S * 3
    assert torch.equal(part.fetch(torch.arange(2))[0], in_memory().pixels[[0, 4]])
    assert part.aspect.tolist() == [1.0, 5.0]
    if not stored:
        assert part.labels is not None
        assert part.labels.tolist() == [0, 1]
    assert len({p.fingerprint for p in (whole, part, whole.subset(torch.tensor([0])))}) == 3


def test_to_keeps_the_samples_and_drops_the_rest_of_the_storage(tmp_path: Path) -> None:
    part = in_file(tmp_path).subset(torch.tensor([5, 1]))
    moved = part.to("cpu")
    assert isinstance(moved.pixels, torch.Tensor)
    assert len(moved.pixels) == 2
    assert torch.equal(moved.fetch(torch.tensor([1, 0]))[0], part.fetch(torch.tensor([1, 0]))[0])
    assert moved.fingerprint == part.fingerprint


def test_to_copies_in_several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinlens.data.pictures._CHUNK", 2 * S * S * 3)
    pictures = in_memory()
    assert [len(range(N)[some]) for some in pictures.chunks()] == [2, 2, 2, 1]
    assert torch.equal(pictures.subset(torch.arange(N)).to("cpu").pixels, pictures.pixels)


def test_a_file_outlives_its_name_and_a_file_cut_short_is_an_error(tmp_path: Path) -> None:
    pictures = in_file(tmp_path)
    with (tmp_path / "rows").open("r+b") as file:
        file.truncate(6 + S * S * 3 + 1)
    assert torch.equal(pictures.fetch(torch.tensor([0]))[0], in_memory().pixels[:1])
    with pytest.raises(InputError, match="rows was cut short"):
        pictures.fetch(torch.tensor([1]))
    (tmp_path / "rows").unlink()
    assert len(pictures.fetch(torch.tensor([0]))[0]) == 1


def test_grey_is_the_luma_of_colour_and_colour_of_grey_is_equal_channels() -> None:
    colour = in_memory()
    grey = colour.with_channels(1)
    expected = [
        np.asarray(Image.fromarray(picture.numpy()).convert("L")) for picture in colour.pixels
    ]  # its own tables
    assert grey.shape == (S, S, 1)
    assert torch.equal(grey.fetch(torch.arange(N))[0][..., 0], torch.from_numpy(np.stack(expected)))
    assert grey.nbytes * 3 == colour.nbytes
    back = grey.to("cpu").with_channels(3)
    assert torch.equal(back.with_channels(1).fetch(torch.arange(N))[0], grey.fetch(torch.arange(N))[0])


def test_luma_of_pure_colours_by_hand() -> None:
    pixels = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8).view(4, 1, 1, 3)
    pictures = Pictures(name="p", pixels=pixels, aspect=torch.ones(4), fingerprint="")
    assert pictures.with_channels(1).fetch(torch.arange(4))[0].flatten().tolist() == [76, 150, 29, 255]


def test_other_labels_become_indices_into_their_distinct_values() -> None:
    labelled = in_memory().with_labels(np.array([7, -1, 7, 3, 3, 3, -1]))
    assert labelled.classes == ("-1", "3", "7")
    assert labelled.labels is not None
    assert labelled.labels.tolist() == [2, 0, 2, 1, 1, 1, 0]
    for wrong in (np.arange(N - 1), np.ones(N), np.ones((N, 1), dtype=int)):
        with pytest.raises(InputError, match=r"expected one integer for each sample, \(7,\)"):
            in_memory().with_labels(wrong)


@pytest.mark.parametrize("index", [[N], [0, -1]])
def test_rows_outside_the_storage_are_an_error_and_not_other_bytes(tmp_path: Path, index: list[int]) -> None:
    for pictures in (in_memory(), in_file(tmp_path)):
        with pytest.raises((IndexError, RuntimeError)):
            pictures.fetch(torch.tensor(index))
