"""Scores of codes whose scores are known. Every combination of factors is there equally often, so that independence is
exact and values by hand hold to the last digit where nothing is learnt.
"""

import json
import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from twinlens.errors import InputError
from twinlens.latent import dci, disentanglement, factor_vae, mig, sap
from twinlens.latent.dci import complete, disentangled
from twinlens.latent.inputs import halves, prepare
from twinlens.latent.sap import balanced, explained

SIZES = (3, 4, 5)
F = np.array(list(product(*map(range, SIZES))) * 25)  # (1500, 3)
N = len(F)
RNG = np.random.default_rng(0)
UNIT = (F - F.mean(axis=0)) / F.std(axis=0)
NOISE = RNG.normal(size=(N, 3))
ROTATION = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
TURNED = np.concatenate((UNIT, RNG.normal(size=(N, 3))), axis=1) @ ROTATION
TWICE = np.concatenate((UNIT, UNIT), axis=1)
TWO_IN_ONE = np.stack((F[:, 0] + 3 * F[:, 1], F[:, 2]), axis=1)
PERFECT = 1 - np.mean([1 / size for size in SIZES])  # SAP's best


def scores(codes, factors=F, **settings):
    d, c, i, _ = dci(codes, factors)
    return {
        "mig": mig(codes, factors).score.value,
        "d": d.value,
        "c": c.value,
        "i": i.value,
        "sap": sap(codes, factors, **settings).value,
        "vote": factor_vae(codes, factors, votes=1000, batch=32).value,
    }


def test_codes_that_are_the_factors():
    found = scores(F[:, [2, 0, 1]])
    assert found["mig"] == pytest.approx(1, abs=1e-12)
    assert [found[name] for name in "dci"] == pytest.approx([1, 1, 1], abs=1e-3)
    assert found["sap"] == pytest.approx(PERFECT, abs=0.03)
    assert sap(F, F).best == pytest.approx(PERFECT)
    assert found["vote"] == 1


def test_codes_that_know_nothing():
    found = scores(NOISE)
    assert found["mig"] < 0.02
    assert [found["d"], found["c"]] == pytest.approx([0, 0], abs=0.05)
    assert found["i"] == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.04)
    assert found["sap"] < 0.03
    assert found["vote"] == pytest.approx(1 / 3, abs=0.06)
    assert dci(NOISE, F).informativeness.chance == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.03)
    assert factor_vae(NOISE, F[:, :2], votes=9).chance == pytest.approx(1 / 2)


def test_factors_turned_into_one_another():
    found = scores(TURNED)
    assert found["mig"] < 0.15
    assert found["d"] < 0.35
    assert found["c"] < 0.35
    assert found["sap"] < 0.15
    assert found["i"] > 0.6
    assert found["vote"] < 0.95


def test_factors_told_twice():
    found = scores(TWICE)
    assert found["mig"] == pytest.approx(0, abs=1e-12)
    assert found["d"] == pytest.approx(1, abs=1e-3)
    assert found["c"] == pytest.approx(1 - math.log(2) / math.log(6), abs=0.04)
    assert found["sap"] == pytest.approx(0, abs=1e-12)
    assert found["vote"] == 1


def test_two_factors_told_by_one_dimension():
    found = scores(TWO_IN_ONE)
    assert found["mig"] == pytest.approx(1, abs=1e-12)  # twelve values in twenty bins: nothing of them is lost
    assert found["d"] == pytest.approx(2 / 3 * (1 - math.log(2) / math.log(3)) + 1 / 3, abs=0.01)
    assert found["c"] == pytest.approx(1, abs=1e-3)
    assert found["i"] == pytest.approx(1, abs=1e-3)
    assert found["sap"] < PERFECT - 0.1  # two thresholds do not find the lower digit


def test_a_factor_without_a_dimension():
    """Its votes go to either dimension, half of them, and are lost: 2 of 3 remain."""
    score = factor_vae(UNIT[:, :2], F, votes=3000)
    assert score.value == pytest.approx(2 / 3, abs=0.03)
    assert score.interval[0] < score.value < score.interval[1]


def test_dead_dimensions_have_no_part():
    codes = np.concatenate((np.full((N, 1), 0.1), F, np.zeros((N, 2))), axis=1).astype(np.float32)
    result = disentanglement(codes, F)
    assert result.dead == (0, 4, 5)
    assert not result.importance[[0, 4, 5]].any()
    assert not result.information[[0, 4, 5]].any()
    for name in ("mig", "dci disentanglement", "dci completeness", "factor_vae"):
        assert result[name].value == pytest.approx(1, abs=1e-3)
    assert result["sap"].value == pytest.approx(PERFECT, abs=0.03)


def test_noise_within_a_dimension_is_not_taken_for_other_dimensions():
    """Trees grown to the end would give it to all of them: 0.2."""
    codes = np.concatenate((UNIT + 0.6 * NOISE, RNG.normal(size=(N, 3))), axis=1)
    assert dci(codes, F).disentanglement.value > 0.6


@pytest.mark.parametrize("codes", [UNIT + 0.4 * NOISE, TURNED], ids=["noisy", "turned"])
def test_order_and_scale_of_dimensions_do_not_matter(codes):
    order = np.random.default_rng(1).permutation(codes.shape[1])
    scale, shift = np.logspace(-9, 3, codes.shape[1]), np.linspace(-3, 3, codes.shape[1])
    other = ((codes + shift) * scale)[:, order]
    first, second = scores(codes, ordered=[1]), scores(other, ordered=[1])
    for name in first:
        assert second[name] == pytest.approx(first[name], abs=0.03 if name in "dci" else 1e-4)
    assert mig(other, F).information == pytest.approx(mig(codes, F).information[order], abs=1e-4)
    assert dci(other, F).importance == pytest.approx(dci(codes, F).importance[order], abs=0.05)


def test_names_of_values_and_order_of_factors_do_not_matter():
    codes = UNIT + 0.4 * NOISE
    renamed = np.array([40, -3, 7, 100, 8])[F][:, [2, 0, 1]]
    assert mig(codes, renamed).score.value == pytest.approx(mig(codes, F).score.value)
    assert sap(codes, renamed).value == pytest.approx(sap(codes, F).value)
    assert sap(codes, -5 * F, ordered=range(3)).value == pytest.approx(sap(codes, F, ordered=range(3)).value)


def slow_mig(codes, factors, bins):
    gaps = []
    for k in range(factors.shape[1]):
        told = []
        for column in codes.T:
            binned = np.digitize(column, np.histogram(column, bins)[1][:-1])
            joint = Counter(zip(binned.tolist(), factors[:, k].tolist()))
            left, right = Counter(binned.tolist()), Counter(factors[:, k].tolist())
            n = len(column)
            told.append(sum(c / n * math.log(c * n / (left[a] * right[b])) for (a, b), c in joint.items()))
        h = -sum(c / n * math.log(c / n) for c in right.values())
        told.sort()
        gaps.append((told[-1] - told[-2]) / h)
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("bins", [7, 20])
def test_mig_equals_loops_over_counts(bins):
    codes = UNIT + 0.3 * NOISE + 0.2 * UNIT[:, ::-1]
    assert mig(codes, F, bins=bins).score.value == pytest.approx(slow_mig(codes, F, bins), abs=1e-10)


def test_mig_by_hand():
    high, low = F[:, 1] // 2, F[:, 1] % 2  # each tells one of two bits
    told = mig(np.stack((F[:, 1], high, low), axis=1), F[:, [1]])
    assert told.information[:, 0] == pytest.approx([1, 0.5, 0.5])
    assert told.score.value == pytest.approx(0.5)
    assert mig(np.stack((high, low), axis=1), F[:, [1]]).score.value == pytest.approx(0)


@pytest.mark.parametrize("ordered", [None, (), (0, 1)])
def test_intervals_are_as_wide_as_the_spread_over_samples(ordered):
    def draw(seed):
        generator = np.random.default_rng(seed)
        y = generator.integers(4, size=(300, 2))
        codes = y + 0.7 * generator.normal(size=(300, 2))
        return mig(codes, y, seed=seed).score if ordered is None else sap(codes, y, ordered=ordered, seed=seed)

    found = [draw(seed) for seed in range(40)]
    width = np.mean([high - low for score in found for low, high in [score.interval]])
    assert width == pytest.approx(2 * 1.96 * np.std([score.value for score in found]), rel=0.4)


def test_dci_of_a_matrix_by_hand_and_by_scipy():
    assert disentangled(np.eye(4)) == complete(np.eye(4)) == 1
    assert disentangled(np.ones((4, 3))) == pytest.approx(0)
    assert complete(np.ones((4, 3))) == pytest.approx(0)
    assert disentangled(np.zeros((4, 3))) == 0
    assert disentangled(np.array([[1.0], [0.0]])) == complete(np.array([[1.0], [0.0]])) == 1
    r = np.random.default_rng(0).random((5, 3)) ** 3
    rows = [scipy_entropy(row, base=3) for row in r]
    columns = [scipy_entropy(column, base=5) for column in r.T]
    assert disentangled(r) == pytest.approx(np.average(1 - np.array(rows), weights=r.sum(axis=1)))
    assert complete(r) == pytest.approx(np.average(1 - np.array(columns), weights=r.sum(axis=0)))


def test_dci_matrix_and_accuracy_by_hand():
    codes = np.stack((F[:, 1] // 2, F[:, 0], NOISE[:, 0]), axis=1)  # half of factor 1, all of factor 0
    found = dci(codes, F[:, :2])
    assert found.importance.sum(axis=0) == pytest.approx([1, 1])
    assert found.importance[1, 0] > 0.99
    assert found.importance[0, 1] > 0.9
    assert found.informativeness.value == pytest.approx((0.5 + 1) / 2, abs=0.03)
    width = np.diff(found.informativeness.interval)[0]
    assert width == pytest.approx(
        2 * 1.96 * 0.25 / (N / 2) ** 0.5, rel=0.1
    )  # right in 1 of 2, or in 2 of 2, half of each


def test_what_is_learnt_is_judged_on_other_samples():
    """Codes that tell all in the half that is learnt from, and nothing in the other."""
    learn, judge = halves(N, 0)
    assert sorted([*learn, *judge]) == list(range(N))
    assert not np.array_equal(np.sort(halves(N, 1)[0]), np.sort(learn))
    codes = UNIT.copy()
    codes[judge] = np.random.default_rng(5).permutation(codes[judge])
    assert dci(codes, F).informativeness.value == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.05)
    assert sap(codes, F).value < 0.06
    assert factor_vae(codes, F, votes=1000).value == pytest.approx(1 / 3, abs=0.2)
    assert factor_vae(UNIT, F, votes=1000).value == 1


def test_sap_parts_by_loops():
    generator = np.random.default_rng(2)
    y, hits, z = generator.integers(3, size=90), generator.random((90, 4)) < 0.6, generator.normal(size=(90, 4))
    z[:, 3] = 2
    z[:, 0] += y
    slow = [np.mean([hits[y == value, j].mean() for value in range(3)]) for j in range(4)]
    assert balanced(hits, y) == pytest.approx(slow)
    assert balanced(hits[y > 0], y[y > 0]) == pytest.approx(  # a value that is not among the judged counts for nothing
        [np.mean([hits[y == value, j].mean() for value in (1, 2)]) for j in range(4)]
    )
    assert explained(z, y)[:3] == pytest.approx([np.corrcoef(column, y)[0, 1] ** 2 for column in z.T[:3]])
    assert explained(z, y)[3] == 0


def test_sap_of_rare_values_is_balanced():
    """Who always says the common value is right for one of two values, however common it is."""
    generator = np.random.default_rng(0)
    y = (np.arange(2000) < 200).astype(int)[:, None]
    codes = np.concatenate((y, generator.normal(size=(2000, 1))), axis=1)
    assert sap(codes, y).value == pytest.approx(0.5, abs=0.05)
    blind = generator.normal(size=(2000, 2))
    assert sap(blind, y).value < 0.05
    codes[:, 0] += generator.normal(size=2000)  # two bells a deviation apart, told apart best halfway: 0.69 of each
    assert sap(codes, y).value == pytest.approx(0.19, abs=0.06)
    assert dci(codes, y).informativeness.chance == pytest.approx(0.9, abs=0.02)


def test_sap_of_amounts_is_the_difference_of_explained_shares():
    codes = np.stack((UNIT[:, 2] + NOISE[:, 0], UNIT[:, 2] + 2 * NOISE[:, 1]), axis=1)
    score = sap(codes, F[:, [2]], ordered=[0])
    assert score.value == pytest.approx(1 / 2 - 1 / 5, abs=0.06)
    assert score.best == 1
    assert sap(F, F, ordered=[0, 1, 2]).value == pytest.approx(1, abs=0.02)
    assert sap(F, F, ordered=[2]).best == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)


def slow_votes(codes, factors, rounds, batch, generator):
    halves_ = np.array_split(generator.permutation(len(codes)), 2)
    table = []
    for rows in halves_:
        counts = Counter()
        for _ in range(rounds):
            k = generator.integers(factors.shape[1])
            value = generator.choice(np.unique(factors[:, k]))
            some = generator.choice(rows[factors[rows, k] == value], batch)
            spread = [np.var(codes[some, j]) / np.var(codes[:, j]) for j in range(codes.shape[1])]
            counts[int(np.argmin(spread)), k] += 1
        table.append(counts)
    learnt, judged = table
    answer = [max(range(factors.shape[1]), key=lambda k, j=j: learnt[j, k]) for j in range(codes.shape[1])]
    return sum(judged[j, answer[j]] for j in range(codes.shape[1])) / rounds


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_votes_are_those_of_a_loop(strength):
    codes = (strength * UNIT + NOISE) * (1, 10, 0.1)
    slow = slow_votes(codes, F, 1500, 32, np.random.default_rng(0))
    assert factor_vae(codes, F, votes=3000, batch=32).value == pytest.approx(slow, abs=0.05)
    assert 0.4 < slow < 0.98


def test_larger_batches_tell_more():
    codes = 0.5 * UNIT + NOISE
    small, large = (factor_vae(codes, F, batch=batch).value for batch in (4, 100))
    assert large > small + 0.1


def test_all_together_are_each_by_itself_and_plain_values():
    codes = 0.6 * UNIT + NOISE
    result = disentanglement(torch.from_numpy(codes), torch.from_numpy(F), ordered=[2], seed=3)
    alone = dci(codes, F, seed=3)
    assert result["mig"] == mig(codes, F, seed=3).score
    assert result["dci disentanglement"] == alone.disentanglement
    assert result["dci completeness"] == alone.completeness
    assert result["dci informativeness"] == alone.informativeness
    assert result["sap"] == sap(codes, F, ordered=[2], seed=3)
    assert result["factor_vae"] == factor_vae(codes, F, seed=3)
    assert np.array_equal(result.importance, alone.importance)
    for score in result.scores.values():
        assert 0 <= score.interval[0] <= score.value <= score.interval[1] <= score.best
        assert score.interval[0] < score.interval[1]
    kept = json.loads(json.dumps(result.as_dict()))
    assert kept["scores"]["sap"]["value"] == result["sap"].value
    assert kept["settings"] == {"samples": N, "ordered": [2], "seed": 3}
    assert np.shape(kept["importance"]) == np.shape(kept["information"]) == (3, 3)
    assert str(result).count("\n") == 5


def test_a_seed_decides_what_is_drawn():
    codes = 0.5 * UNIT + NOISE
    for score in (
        lambda seed: mig(codes, F, seed=seed).score.interval,
        lambda seed: dci(codes, F, seed=seed).disentanglement,
        lambda seed: sap(codes, F, seed=seed),
        lambda seed: factor_vae(codes, F, seed=seed),
    ):
        assert score(1) == score(1) != score(2)


def test_codes_are_standardised():
    known = prepare(np.float32(5 * NOISE + 3), F)
    assert known.z.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert known.z.std(axis=0) == pytest.approx(1)
    assert known.values == SIZES


@pytest.mark.parametrize(
    ("codes", "factors", "says"),
    [
        (NOISE[:, 0], F, r"codes of shape \(1500,\) with factors of shape \(1500, 3\): expected \(N, D\)"),
        (NOISE[:, :1], F, "with D at least 2"),
        (NOISE[:9], F, r"codes of shape \(9, 3\) with factors"),
        (NOISE, UNIT, "factors are float64: expected integers"),
        (np.where(NOISE > 2.5, np.nan, NOISE), F, r"\d+ of 1500 codes are not finite"),
        (np.full((N, 2), 0.1), F, "all 2 dimensions of the codes are constant"),
        (NOISE, np.concatenate((F, np.full((N, 1), 4)), axis=1), "factor 3 is 4 in all 1500 samples: leave"),
        (NOISE, np.arange(2 * N).reshape(N, 2) // 4, "factor 0 takes 750 values in 1500 samples: expected at least 10"),
    ],
)
def test_what_cannot_be_scored_is_named(codes, factors, says):
    with pytest.raises(InputError, match=says):
        mig(codes, factors)


def test_settings_out_of_range_are_named():
    with pytest.raises(InputError, match="ordered names factor 3: expected columns of the factors, 0 to 2"):
        sap(NOISE, F, ordered=[3])
    with pytest.raises(InputError, match=r"has \d+ samples in a random half: expected at least 500, half a batch"):
        factor_vae(NOISE, F, batch=1000)
    with pytest.raises(InputError, match="votes = 0, batch = 64"):
        factor_vae(NOISE, F, votes=0)
