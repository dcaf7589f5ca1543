"""Test samples among the training ones are found by content, refused, and kept out of a split that is ours."""

from pathlib import Path

import numpy as np
import pytest
import torch

import twinlens as tl
from twinlens.batch import Split
from twinlens.data.arrays import Part, from_arrays
from twinlens.data.pictures import Pictures
from twinlens.errors import InputError
from twinlens.evaluate import leaks, splits


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)


def both(train: np.ndarray, test: np.ndarray) -> tuple[Pictures, Pictures]:
    split = from_arrays("made", *(Part(x, np.arange(len(x)) % 2) for x in (train, test)))
    assert split.test is not None
    return split.train, split.test


def test_copies_are_found_by_content_alone() -> None:
    train, test = pictures(30), pictures(20, seed=1)
    test[[4, 17]] = train[[29, 0]]
    almost = train[3].copy()
    almost[0, 0] ^= 1
    test[5] = almost
    assert leaks.shared(*both(train, test)).tolist() == [4, 17]
    assert len(leaks.shared(*both(train, pictures(20, seed=2)))) == 0


def test_they_are_refused_in_one_sentence() -> None:
    train, test = pictures(30), pictures(20, seed=1)
    leaks.refuse(*both(train, test))
    test[4] = train[0]
    with pytest.raises(InputError, match=r"1 of 20 test samples of made .*number 4.*--allow_leaks"):
        leaks.refuse(*both(train, test))


def test_a_split_of_our_own_keeps_copies_on_one_side() -> None:
    x = pictures(50)
    x[25:] = x[:25]  # every picture twice, under one label
    split = from_arrays("made", Part(x, np.arange(50) % 25 % 5), None)
    train, test = splits.parts(Split(split.train), seed=0)
    assert len(train) + len(test) == 50
    assert len(leaks.shared(train, test)) == 0


def test_data_of_copies_alone_has_nothing_to_judge_by() -> None:
    x = np.repeat(pictures(2), 20, axis=0)
    split = from_arrays("made", Part(x, np.arange(40) // 20), None)
    with pytest.raises(InputError, match="has a copy among the others"):
        splits.parts(Split(split.train), seed=0)


def test_evaluate_refuses_leaks_unless_they_are_allowed(tmp_path: Path) -> None:
    x, y = pictures(120), np.arange(120) % 3
    np.savez(tmp_path / "d.npz", x_train=x[:100], y_train=y[:100], x_test=x[90:], y_test=y[90:])
    run = tl.pretrain(str(tmp_path / "d.npz"), out=tmp_path / "r", epochs=1, batch=32, hidden=16)
    with pytest.raises(InputError, match="10 of 30 test samples"):
        run.evaluate(tmp_path / "d.npz")
    found = run.evaluate(tmp_path / "d.npz", allow_leaks=True)
    assert found["knn"].baselines.keys() == {"raw input", "pooled pixels", "untrained encoder", "majority class"}
    assert (
        found.protocol["train"] == 100 and found.protocol["test"] == 30 and "own test part" in found.protocol["split"]
    )


def test_contents_are_read_in_parts() -> None:
    train, test = both(pictures(3000), pictures(2500, seed=1))
    assert len(leaks.shared(train, train)) == 3000 and torch.equal(leaks.shared(test, test), torch.arange(2500))
