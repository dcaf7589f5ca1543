from statistics import NormalDist

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from twinlens.errors import InputError
from twinlens.evaluate import ood
from twinlens.evaluate.ood import auroc

D = 5


def draw(count, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    towards, aside = torch.eye(D)[0], torch.eye(D)[1]
    return 2 * towards + shift * aside + torch.randn(count, D, generator=generator)


@pytest.fixture(scope="module")
def parts():
    return draw(200, 0), draw(90, 1), draw(60, 2, shift=2)


def distances(train, features, k):
    """A loop over samples in float64: the k-th smallest distance on the unit sphere."""
    unit = [row / row.norm() for row in train.double()]
    return [sorted(float((z / z.norm() - x).norm()) for x in unit)[k - 1] for z in features.double()]


@pytest.mark.parametrize("k", [1, 10, 200])
def test_equals_scikit_learn_over_a_loop_of_distances(parts, k):
    train, inside, outside = parts
    far = distances(train, inside, k) + distances(train, outside, k)
    result = ood(*parts, k=k)
    assert result.value == pytest.approx(roc_auc_score([0] * 90 + [1] * 60, far), abs=1e-9)
    assert 0.6 < result.value < 0.95
    assert result.interval[0] < result.value < result.interval[1]
    assert result.settings == {"k": k, "similarity": "cosine", "training": 200, "inside": 90, "outside": 60}


def test_by_hand():
    train = np.array([[1, 0], [1, 0.2]], np.float32)
    inside, outside = np.array([[3, 0.1], [0, 1]], np.float32), np.array([[1, 1], [-1, 0]], np.float32)
    assert ood(train, inside, outside, k=1).value == 0.75  # 4 pairs, of which [0, 1] is farther than [1, 1]
    assert ood(train, inside, outside, k=500).settings["k"] == 2
    # the second nearest: [1, 0.2] is a training sample but has only one near; [5, 0.5] lies between both
    two = np.array([[1, 0], [1, 0.2], [0, 1]], np.float32)
    assert ood(two, np.array([[5, 0.5]], np.float32), np.array([[0, 1]], np.float32), k=1).value == 0
    assert ood(two, np.array([[5, 0.5]], np.float32), np.array([[0, 1]], np.float32), k=2).value == 1


def test_area_by_hand_with_equals_counting_half():
    assert auroc(np.array([1.0, 2.0]), np.array([1.0, 0.0]))[0] == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert auroc(np.ones(5), np.ones(3)) == (0.5, (0.5, 0.5))
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0, 1.0])) == (1, (1, 1))
    random = np.random.default_rng(0)
    high, low = random.integers(6, size=80).astype(float), random.integers(5, size=50).astype(float)
    assert auroc(high, low)[0] == pytest.approx(roc_auc_score([1] * 80 + [0] * 50, np.concatenate((high, low))))


def test_inside_and_outside_mirror_each_other_and_the_same_is_chance(parts):
    train, inside, outside = parts
    assert ood(train, outside, inside).value == pytest.approx(1 - ood(train, inside, outside).value)
    assert ood(train, inside, inside).value == 0.5
    collapsed = ood(torch.ones(30, D), torch.ones(20, D), torch.ones(10, D), k=5)
    assert collapsed.value == 0.5


def test_rotation_length_and_order_do_not_matter(parts):
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q
    moved = []
    for part in parts:
        scale, order = torch.rand(len(part), 1, generator=generator) + 0.1, torch.randperm(len(part))
        moved.append((scale * part @ turn)[order])
    assert ood(*moved).value == pytest.approx(ood(*parts).value, abs=1e-3)  # two nearly equal ones may change places
    assert ood(*parts) == ood(*parts) == ood(*(part.numpy() for part in parts))


def test_intervals_cover_the_truth_and_know_both_sets():
    truth, random, covered = NormalDist().cdf(1 / 2**0.5), np.random.default_rng(0), 0
    for _ in range(60):
        low, high = auroc(random.normal(1, 1, 60), random.normal(0, 1, 200), resamples=300)[1]
        covered += low <= truth <= high
    assert 52 <= covered < 60
    few = [
        np.ptp(auroc(random.normal(1, 1, n), random.normal(0, 1, m))[1])
        for n, m in ((20, 2000), (2000, 20), (400, 400))
    ]
    assert min(few[:2]) > 1.5 * few[2]


@pytest.mark.parametrize(
    ("sizes", "k", "words"),
    [
        ((9, 5, 5), 0, "^k = 0: expected at least 1"),
        ((0, 5, 5), 1, r"^training features of shape \(0, 5\)"),
        ((9, 0, 5), 1, r"^inside features of shape \(0, 5\)"),
        ((9, 5, 0), 1, r"^outside features of shape \(0, 5\)"),
    ],
)
def test_unusable_input_is_named(sizes, k, words):
    with pytest.raises(InputError, match=words):
        ood(*(draw(size, 0) for size in sizes), k=k)


def test_features_that_do_not_fit_are_named(parts):
    with pytest.raises(InputError, match=r"^outside features have 3 dimensions where 5 are expected"):
        ood(parts[0], parts[1], torch.ones(4, 3))
    with pytest.raises(InputError, match=r"^1 of 2 inside features are not finite"):
        ood(parts[0], torch.tensor([[0.0] * D, [torch.inf] + [0.0] * (D - 1)]), parts[2])
