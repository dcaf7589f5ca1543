import numpy as np
import pytest

from twinlens.latent.score import Score, around, share, standard_error


def test_wilson_intervals_by_hand():
    assert share(0, 10).interval == pytest.approx((0, 0.2775), abs=1e-4)
    assert share(10, 10).interval == pytest.approx((0.7225, 1), abs=1e-4)
    assert share(5, 10).interval == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert share(1, 4, chance=0.25) == Score(0.25, share(1, 4).interval, 0.25)


def test_wilson_intervals_cover():
    generator = np.random.default_rng(0)
    for p in (0.05, 0.5, 0.9):
        found = [share(int(right), 60).interval for right in generator.binomial(60, p, size=2000)]
        assert np.mean([low <= p <= high for low, high in found]) == pytest.approx(0.95, abs=0.03)


def test_intervals_around_a_value_are_cut_to_what_is_possible():
    assert around(0.5, 0.1).interval == pytest.approx((0.304, 0.696), abs=1e-4)
    assert around(0.1, 0.1).interval[0] == 0
    assert around(0.7, 0.1, best=0.75).interval[1] == 0.75


def test_standard_error_of_a_mean():
    x = np.random.default_rng(1).normal(size=400)
    error = standard_error(lambda rows: float(x[rows].mean()), 400, seed=0)
    assert error == pytest.approx(x.std() / 20, rel=0.2)
    assert error == standard_error(lambda rows: float(x[rows].mean()), 400, seed=0)
    assert standard_error(lambda rows: float(len(np.unique(rows)) / 400), 400, seed=0) > 0  # rows are drawn again


def test_a_score_says_what_it_stands_beside():
    assert str(Score(0.5, (0.4, 0.6), 0.25)) == "0.500 (0.400 to 0.600; chance 0.25)"
    assert str(Score(0.5, (0.4, 0.6), 0, 0.8)).endswith("chance 0.00, best 0.80)")
    assert Score(0.5, (0.4, 0.6)).as_dict() == {"value": 0.5, "interval": (0.4, 0.6), "chance": 0, "best": 1}
