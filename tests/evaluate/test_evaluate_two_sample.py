"""KID against double loops, by hand, and over many draws: no bias, an interval that holds, invariances."""

import numpy as np
import pytest
import torch

from twinlens.errors import InputError
from twinlens.evaluate.two_sample import kid, mmd


def slow(x, y):
    """Equation 3 of Gretton et al. 2012, one pair after another, by Python's own numbers."""

    def k(a, b):
        return (sum(float(p) * float(q) for p, q in zip(a, b)) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "m", "d"), [(5, 5, 3), (7, 4, 2), (2, 9, 1)])
def test_the_discrepancy_is_that_of_loops(n, m, d):
    x, y = normal(n, d), 2 * normal(m, d, seed=1) + 1
    assert mmd(x, y) == pytest.approx(slow(x.tolist(), y.tolist()), rel=1e-12)


def test_the_discrepancy_by_hand():
    # among x = {1, -1}: (1 * -1 + 1)^3 = 0; among y = {2, 0}: 1; between: 27, 1, -1 and 1, in the mean 7
    assert mmd(torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0], [0.0]])) == -13
    # D = 2: among x, twice (1, 1): (2 / 2 + 1)^3 = 8; among y, zeros: 1; between: 1
    assert mmd(torch.ones(2, 2), torch.zeros(3, 2)) == 7


def test_the_discrepancy_does_not_depend_on_the_order():
    x, y = normal(20, 4), normal(13, 4, seed=1) + 1
    expected = mmd(x, y)
    assert mmd(x.flip(0), y.roll(5, 0)) == pytest.approx(expected) == mmd(y, x)
    turn = torch.linalg.qr(normal(4, 4, seed=2)).Q  # nor on the axes
    assert mmd(x @ turn, y @ turn) == pytest.approx(expected, rel=1e-4)


def test_large_features_are_computed_in_float64():
    x, y = 1000 + normal(30, 4), 1000 + normal(30, 4, seed=1)
    assert mmd(x, y) == pytest.approx(slow(x.tolist(), y.tolist()), rel=1e-6)


def test_the_distance_is_the_mean_over_blocks_that_share_nothing():
    x, y = torch.arange(12.0)[:, None] / 12, torch.arange(9.0)[:, None] / 5
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twinlens.evaluate.two_sample.mmd", lambda a, b: seen.append((a, b)) or float(len(seen)))
        found = kid(x, y, blocks=3, seed=4)
    assert [len(a) for a, _ in seen] == [4, 4, 4] and [len(b) for _, b in seen] == [3, 3, 3]
    for whole, parts in zip((x, y), zip(*seen)):
        assert torch.equal(torch.cat(parts).sort(0).values, whole) and not torch.equal(torch.cat(parts), whole)
    assert found.value == 2  # of 1, 2 and 3, whose deviation is 1: Student's t of two degrees is 4.3027
    assert np.subtract(found.interval, found.value) == pytest.approx([-4.3027 / 3**0.5, 4.3027 / 3**0.5], rel=1e-4)
    assert found.settings["blocks"] == 3 and (found.settings["real"], found.settings["drawn"]) == (12, 9)


def test_the_two_sets_are_shuffled_each_by_itself(monkeypatch):
    x, seen = torch.arange(40.0)[:, None], []
    monkeypatch.setattr("twinlens.evaluate.two_sample.mmd", lambda a, b: seen.append(torch.equal(a, b)) or 0.0)
    kid(x, x, blocks=2)
    assert seen == [False, False]


def test_samples_of_one_distribution_are_at_no_distance_and_intervals_hold():
    found = [kid(normal(60, 8, seed=s), normal(60, 8, seed=1000 + s), blocks=6, seed=s) for s in range(300)]
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 3 * values.std() / 300**0.5 and (values < 0).mean() > 0.3
    held = np.mean([low <= 0 <= high for low, high in (each.interval for each in found)])
    assert 0.92 < held < 0.98


def test_the_distance_does_not_depend_on_how_many_samples_there_are():
    few, many = (
        np.mean([kid(normal(n, 4, seed=s), normal(n, 4, seed=1000 + s) + 0.5, blocks=4).value for s in range(200)])
        for n in (16, 64)
    )
    assert few == pytest.approx(many, rel=0.1)


def test_shifted_samples_are_at_a_distance_and_farther_ones_farther():
    x = normal(200, 8)
    near, far = (kid(x, normal(200, 8, seed=1) + shift) for shift in (0.3, 0.6))
    assert near.interval[0] > 0 and near.interval[1] < far.interval[0]
    assert kid(x, normal(200, 8, seed=1) + 0.3) == near  # seeded
    assert kid(x, normal(200, 8, seed=1) + 0.3, seed=1).value != near.value
    assert kid(x.numpy(), normal(200, 8, seed=1).numpy() + np.float32(0.3)).value == pytest.approx(near.value)


@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (torch.zeros(3), torch.zeros(20, 3), {}, "real features of shape (3,): expected (N, D)"),
        (torch.zeros(20, 3), torch.zeros(20, 4), {}, "drawn features have 4 dimensions where 3 are expected"),
        (torch.zeros(20, 3), torch.full((20, 3), torch.nan), {}, "20 of 20 drawn features are not finite"),
        (
            torch.zeros(19, 3),
            torch.zeros(40, 3),
            {},
            "19 samples in 10 blocks: expected at least 2 in a block; give 20",
        ),
        (torch.zeros(40, 3), torch.zeros(7, 3), {"blocks": 4}, "7 samples in 4 blocks"),
        (torch.zeros(40, 3), torch.zeros(40, 3), {"blocks": 1}, "blocks = 1: expected at least 2"),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y, options, words):
    with pytest.raises(InputError) as error:
        kid(x, y, **options)
    assert words in str(error.value)


def test_an_amount_says_itself_in_its_own_units():
    found = kid(normal(40, 2), normal(40, 2, seed=1) + 3)
    assert "%" not in str(found) and str(found).startswith(f"KID {found.value:.4g} (")
    beside = found.beside({"a": found})
    assert beside.as_dict()["baselines"]["a"]["value"] == found.value and not found.baselines
