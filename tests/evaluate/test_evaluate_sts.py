import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from twinlens.errors import InputError
from twinlens.evaluate import sts
from twinlens.evaluate.sts import lead, spearman

N, D = 90, 6


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs(count=N, seed=0, noise=0.7):
    """Two rows that are the more alike the higher the score of 0 to 5, in quarters, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(21, (count,), generator=generator) / 4
    first, other = torch.randn(2, count, D, generator=generator)
    second = scores[:, None] / 5 * first + (1 - scores[:, None] / 5) * other
    return first, second + noise * torch.randn(count, D, generator=generator), scores


def ranks(values):
    """The rank of each, from 1, by comparing it with all others; equal ones have the mean of theirs."""
    return [sum(u < v for u in values) + (1 + sum(u == v for u in values)) / 2 for v in values]


def test_equals_a_loop_over_pairs_and_scipy():
    first, second, scores = pairs()
    cosine = [float(a @ b / a.norm() / b.norm()) for a, b in zip(first.double(), second.double())]
    a, b = ranks(cosine), ranks(scores.tolist())
    mean = (N + 1) / 2
    covariance = sum((u - mean) * (v - mean) for u, v in zip(a, b))
    expected = covariance / math.sqrt(sum((u - mean) ** 2 for u in a) * sum((v - mean) ** 2 for v in b))
    result = sts(first, second, scores)
    assert result.value == pytest.approx(expected, abs=1e-9)
    assert result.value == pytest.approx(spearmanr(cosine, scores).statistic, abs=1e-9)
    assert 0.3 < result.interval[0] < result.value < result.interval[1] < 0.9
    assert (result.name, result.settings["pairs"]) == ("STS Spearman", N)


def test_by_hand():
    # cosines 1, 0.8, 0.6, 0 have ranks 4, 3, 2, 1; of scores 5, 3, 3, 4 they are 4, 1.5, 1.5, 3: 1.5 / sqrt(5 * 4.5)
    second = torch.tensor([[2, 0], [0.8, 0.6], [3, 4], [0, 1]])
    assert sts(torch.tensor([[1.0, 0]] * 4), second, [5, 3, 3, 4]).value == pytest.approx(1.5 / math.sqrt(22.5))
    assert sts(torch.eye(2), torch.eye(2).flip(0) + torch.tensor([[0, 0], [0, 9]]), [0, 1]).value == pytest.approx(1)
    assert sts(torch.eye(2), torch.eye(2).flip(0) + torch.tensor([[0, 0], [0, 9]]), [1, 0]).value == pytest.approx(-1)


def test_resamples_equal_a_correlation_of_items_drawn_again():
    first, second, scores = pairs(40)
    cosine = torch.cosine_similarity(first, second).numpy()
    random, again = np.random.default_rng(3), []
    for _ in range(200):
        drawn = random.integers(40, size=40)
        again.append(spearmanr(cosine[drawn], scores.numpy()[drawn]).statistic)
    assert spearman(cosine, scores.numpy(), resamples=200, seed=3)[1] == pytest.approx(
        tuple(np.quantile(again, (0.025, 0.975)))
    )


def test_a_lead_is_over_the_same_resamples():
    y = normal(200).numpy()
    hard = normal(200, seed=1).numpy()  # what both get wrong
    better, worse = (y + hard + spoilt * normal(200, seed=2).numpy() for spoilt in (0.1, 0.7))
    value, (low, high) = lead(better, worse, y, resamples=300, seed=3)
    random, differences = np.random.default_rng(3), []
    for _ in range(300):
        drawn = random.integers(200, size=200)
        one, other = (spearmanr(x[drawn], y[drawn]).statistic for x in (better, worse))
        differences.append(one - other)
    assert (low, high) == pytest.approx(tuple(np.quantile(differences, (0.025, 0.975))), abs=1e-9)
    assert value == pytest.approx(spearman(better, y)[0] - spearman(worse, y)[0])
    apart = [spearman(x, y)[1] for x in (better, worse)]
    assert low > 0 and apart[0][0] < apart[1][1]  # their own intervals touch
    assert lead(worse, better, y)[0] == pytest.approx(-value) and lead(y, y, y) == (0, (0, 0))


def test_rotation_length_order_and_scale_of_scores_do_not_matter():
    first, second, scores = pairs()
    value = sts(first, second, scores).value
    turn, order = torch.linalg.qr(normal(D, D, seed=5)).Q, torch.randperm(N, generator=torch.Generator().manual_seed(2))
    long = normal(N, 1, seed=3).abs() + 0.1
    assert sts(long * first @ turn, 7 * second @ turn, scores).value == pytest.approx(value, abs=1e-4)
    assert sts(first[order], second[order], scores[order].exp() - 40).value == pytest.approx(value, abs=1e-12)
    assert sts(second, first, scores).value == pytest.approx(value, abs=1e-12)
    assert sts(first, second, -scores).value == pytest.approx(-value, abs=1e-12)


def test_equal_texts_are_equally_alike_whatever_the_last_digit():
    # half the pairs are of equal texts: their order among themselves is no information
    first, second = normal(40, D, seed=1), normal(40, D, seed=2)
    second[:20] = first[:20]
    expected = spearmanr([1.0] * 20 + torch.cosine_similarity(first, second)[20:].tolist(), range(40)).statistic
    assert sts(first, second, range(40)).value == pytest.approx(expected, abs=1e-9)


def test_an_encoder_that_has_collapsed_finds_no_order():
    result = sts(torch.ones(9, 4), torch.ones(9, 4), range(9))
    assert (result.value, result.interval) == (0, (0, 0))


def test_intervals_cover_the_truth_ninety_five_times_in_a_hundred():
    rho, count, random = 0.6, 300, np.random.default_rng(0)
    truth = 6 / math.pi * math.asin(rho / 2)  # Pearson 1907, of a normal pair
    covered = 0
    for seed in range(count):
        x, other = random.normal(size=(2, 200))
        low, high = spearman(x, rho * x + math.sqrt(1 - rho**2) * other, resamples=200, seed=seed)[1]
        covered += low <= truth <= high
    assert 0.92 <= covered / count <= 0.98


@pytest.mark.parametrize(
    ("first", "second", "scores", "words"),
    [
        (torch.eye(3), torch.eye(4)[:, :3], range(3), r"^3 first and 4 second features with scores of shape \(3,\)"),
        (torch.eye(3), torch.eye(3), range(4), r"scores of shape \(4,\): expected N, N and \(N,\)"),
        (torch.ones(1, 2), torch.ones(1, 2), [1], "N at least 2"),
        (torch.eye(3), torch.eye(4), range(3), "^second features have 4 dimensions where 3 are"),
        (torch.eye(3), torch.eye(3) / 0, range(3), "^3 of 3 second features are not finite"),
        (torch.eye(3), torch.eye(3), [0, 1, math.nan], "^1 of 3 scores are not finite"),
        (torch.eye(3), torch.eye(3), [2.5] * 3, "^all 3 scores are 2.5"),
    ],
)
def test_unusable_input_is_named(first, second, scores, words):
    with pytest.raises(InputError, match=words):
        sts(first, second, scores)
