import json

import numpy as np
import pytest
import torch

from twinlens.errors import InputError
from twinlens.evaluate import Labelled, Result, bootstrap
from twinlens.evaluate.result import as_tensors


def test_interval_of_shares_is_the_binomial_one():
    low, high = bootstrap(np.arange(10_000) < 8_000)
    half = 1.96 * (0.8 * 0.2 / 10_000) ** 0.5
    assert low == pytest.approx(0.8 - half, abs=0.001)
    assert high == pytest.approx(0.8 + half, abs=0.001)


def test_interval_by_hand():
    assert bootstrap(torch.ones(50)) == (1, 1)
    assert bootstrap([[1] * 30, [1] * 30, [0] * 30, [0] * 30]) == (0, 1)  # draws alone vary: all four fail in 1 of 16
    assert bootstrap([[1, 1], [1, 1]]) == (1, 1)


def test_interval_covers_draws_and_items():
    random = np.random.default_rng(0)
    ease, skill = random.normal(size=400), random.normal(size=(12, 1))
    correct = (ease + skill > 0).astype(float)
    means = []
    for _ in range(2000):
        rows, columns = random.integers(12, size=12), random.integers(400, size=400)
        means.append(np.mean([correct[r, columns].mean() for r in rows]))
    assert bootstrap(correct) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.02)
    one = bootstrap(correct[0])
    assert bootstrap(np.repeat(correct[:1], 5, axis=0)) == pytest.approx(one, abs=0.01)  # equal draws add no spread


def test_interval_is_repeatable():
    correct = np.arange(100) % 3 == 0
    assert bootstrap(correct, seed=1) == bootstrap(correct, seed=1) != bootstrap(correct, seed=2)


def test_result_stands_beside_its_baselines():
    raw, own = Result("knn", 0.5, (0.4, 0.6)), Result("knn", 0.8125, (0.8, 0.85), {"k": 20})
    both = own.beside({"raw": raw})
    assert own.baselines == {}
    assert both.beside({"untrained": raw}).baselines == {"raw": raw, "untrained": raw}
    assert json.loads(json.dumps(both.as_dict()))["baselines"]["raw"]["value"] == 0.5
    assert str(both) == "knn 81.2% (80.0% to 85.0%)"


GOOD = Labelled(np.eye(4, dtype=np.float32), np.arange(4))


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (Labelled(torch.ones(4), torch.arange(4)), GOOD, r"training features of shape \(4,\)"),
        (GOOD, Labelled(torch.eye(4), torch.arange(3)), r"labels of shape \(3,\)"),
        (GOOD, Labelled(torch.ones(0, 4), torch.arange(0)), "N at least 1"),
        (GOOD, Labelled(torch.ones(2, 3), torch.arange(2)), "4 dimensions, test features 3"),
        (GOOD, Labelled(torch.eye(4) / 0, torch.arange(4)), "4 of 4 test features are not finite"),
        (Labelled(torch.eye(4), torch.full((4,), 7)), GOOD, "all 4 training labels are 7"),
    ],
)
def test_unusable_input_is_named(train, test, words):
    with pytest.raises(InputError, match=words):
        as_tensors(train, test)


def test_intervals_cover_the_truth_ninety_five_times_in_a_hundred():
    random, truth, count = np.random.default_rng(0), 0.8, 500
    covered = 0
    for seed in range(count):
        low, high = bootstrap(random.random(300) < truth, resamples=300, seed=seed)
        covered += low <= truth <= high
    assert 0.93 <= covered / count <= 0.97


def test_intervals_over_draws_cover_what_other_draws_and_items_would_give():
    random, count = np.random.default_rng(1), 300
    covered = 0
    for seed in range(count):
        items, draws = random.normal(0, 1, (1, 200)), random.normal(0, 0.1, (10, 1))
        right = random.random((10, 200)) < 1 / (1 + np.exp(-(items + draws)))
        low, high = bootstrap(right, resamples=300, seed=seed)
        covered += low <= 0.5 <= high  # the logistic function of a symmetric variable is a half on average
    assert 0.93 <= covered / count <= 0.99  # both are resampled as if the other were fixed: a little wide
