"""The split of data without a test part, the raw baseline, and how an evaluation is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twinlens.data.load import load
from twinlens.errors import InputError
from twinlens.evaluate.baselines import Raw
from twinlens.evaluate.evaluation import Evaluation
from twinlens.evaluate.result import Result
from twinlens.evaluate.splits import parts


def labelled(path: Path, labels: list[int]) -> Path:
    pictures = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    np.savez(path / "d.npz", x=pictures, y=np.array(labels))
    return path / "d.npz"


def test_a_fifth_of_each_class_is_for_the_test(tmp_path: Path) -> None:
    split = load(labelled(tmp_path, [0] * 50 + [1] * 10))
    train, test = parts(split, seed=0)
    assert np.bincount(train.labels).tolist() == [40, 8] and np.bincount(test.labels).tolist() == [10, 2]
    pixels = torch.cat([part.fetch(torch.arange(len(part)))[0] for part in (train, test)])
    assert len({picture.numpy().tobytes() for picture in pixels}) == 60
    other = parts(split, seed=1)[1]
    assert not torch.equal(test.fetch(torch.arange(12))[0], other.fetch(torch.arange(12))[0])


def test_classes_of_one_sample_and_data_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has one sample"):
        parts(load(labelled(tmp_path, [0] * 5 + [1])), seed=0)
    with pytest.raises(InputError, match="no labels"):
        parts(load(np.zeros((9, 8, 8), np.uint8)), seed=0)


def test_raw_is_the_view_and_large_views_are_pooled() -> None:
    assert torch.equal(Raw()(torch.arange(24.0).view(2, 1, 3, 4)), torch.arange(24.0).view(2, 12))
    large = Raw()(torch.ones(2, 3, 64, 64))
    assert large.shape == (2, 3 * 18 * 18) and torch.equal(large, torch.ones_like(large))


def result(value: float, low: float, high: float) -> Result:
    return Result("knn", value, (low, high))


def test_an_evaluation_is_kept_once_for_each_data_and_printed(tmp_path: Path) -> None:
    apart = result(0.9, 0.88, 0.92).beside({"raw input": result(0.8, 0.78, 0.82)})
    first = Evaluation("a", "1", (apart,))
    for one in (first, Evaluation("b", "2", (apart,)), first):
        one.save(tmp_path / "e.json")
    import json

    assert [item["data"] for item in json.loads((tmp_path / "e.json").read_text())] == ["b", "a"]
    assert all(text in str(first) for text in ("90.0", "88.0-92.0", "80.0", "78.0-82.0"))
    assert "[bold]90.0" in str(first.table().columns[1]._cells)
    near = Evaluation("a", "1", (result(0.9, 0.81, 0.92).beside({"raw input": result(0.8, 0.78, 0.82)}),))
    assert "[bold]" not in str(near.table().columns[1]._cells)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a/0.png", "a/1.png", "b/0.png", "2.png"], "1 of 4 pictures of d lie in no subfolder and so have no label"),
        (["a/0.png", "a/1.png", "a/2.png"], "all 3 pictures of d are of one class, a: two subfolders"),
        (["0.png", "1.png"], "d has no labels to evaluate on"),
    ],
)
def test_a_folder_without_labels_says_why(tmp_path: Path, files: list[str], said: str) -> None:
    for number, name in enumerate(files):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "d" / name)
    with pytest.raises(InputError, match=said):
        parts(load(tmp_path / "d"), seed=0)
