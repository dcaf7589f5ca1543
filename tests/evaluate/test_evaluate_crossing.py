import itertools
import math
import sys

import numpy as np
import pytest
import torch

from twinlens.errors import InputError
from twinlens.evaluate import crossing

N, D = 60, 6


def draw(seed=0, noise=0.7, count=N):
    generator = torch.Generator().manual_seed(seed)
    first, other = torch.randn(2, count, D, generator=generator)
    return first, first + noise * other


IDS = torch.arange(N) % 23  # two or three pairs of each


def values(results):
    return {result.name: result.value for result in results}


def slow(queries, bank, ids, ks):
    """By a loop over queries in float64."""
    found = {**{f"recall@{k}": [] for k in ks}, "MRR": [], "nDCG@10": []}
    for i, z in enumerate(queries.double()):
        cosine = [float(z @ x / z.norm() / x.norm()) for x in bank.double()]
        ranking = sorted(range(len(bank)), key=lambda j: -cosine[j])
        places = [r for r, j in enumerate(ranking, 1) if ids[j] == ids[i]]
        for k in ks:
            found[f"recall@{k}"].append(places[0] <= k)
        found["MRR"].append(1 / places[0])
        best = sum(1 / math.log2(1 + r) for r in range(1, 1 + min(10, len(places))))
        found["nDCG@10"].append(sum(1 / math.log2(1 + r) for r in places if r <= 10) / best)
    return {name: np.mean(each) for name, each in found.items()}


@pytest.mark.parametrize("ids", [None, IDS, torch.arange(N) // 15], ids=["pairs", "some alike", "15 alike"])
def test_equals_a_loop_over_queries_both_ways(ids, monkeypatch):
    monkeypatch.setattr(sys.modules[crossing.__module__], "_AT_ONCE", 7 * N)
    first, second = draw(noise=1.5)
    results = crossing(first, second, ids=ids, ks=(1, 4), names=("image", "text"))
    y = list(range(N)) if ids is None else ids.tolist()
    there, back = slow(first, second, y, (1, 4)), slow(second, first, y, (1, 4))
    expected = {f"image to text {name}": value for name, value in there.items()}
    expected |= {f"text to image {name}": value for name, value in back.items()}
    assert values(results) == pytest.approx(expected, abs=1e-6) and list(values(results)) == list(expected)
    assert all(result.interval[0] <= result.value <= result.interval[1] for result in results)


def test_by_hand():
    # the first two of `second` have changed places: both are found at the second rank, the third at the first
    first = torch.eye(3) + torch.tensor([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
    results = values(crossing(first, torch.eye(3)[[1, 0, 2]], ks=(1, 2)))
    assert results["first to second recall@1"] == results["second to first recall@1"] == pytest.approx(1 / 3)
    assert results["first to second recall@2"] == 1 and results["second to first MRR"] == pytest.approx(2 / 3)
    assert results["first to second nDCG@10"] == pytest.approx((1 + 2 / math.log2(3)) / 3)
    same = values(crossing(first, torch.eye(3)[[1, 0, 2]], ks=(1,), ids=[7, 7, 3]))
    assert set(same.values()) == {1}  # both are of one caption


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 2], [0] * 6, [3, 3, 3, 3, 3, 1]])
def test_chance_is_the_mean_over_all_orders(ids):
    found = {"recall@1": [], "recall@2": [], "MRR": [], "nDCG@10": []}
    for order, own in itertools.product(itertools.permutations(ids), ids):
        places = [r for r, other in enumerate(order, 1) if other == own]
        best = sum(1 / math.log2(1 + r) for r in range(1, 1 + len(places)))
        scores = places[0] <= 1, places[0] <= 2, 1 / places[0], sum(1 / math.log2(1 + r) for r in places) / best
        for name, score in zip(found, scores):
            found[name].append(score)
    generator = torch.Generator().manual_seed(0)
    results = crossing(*torch.randn(2, 6, D, generator=generator), ids=ids, ks=(1, 2))
    chance = [result.baselines["chance"] for result in results]
    assert [each.value for each in chance] == pytest.approx([np.mean(each) for each in found.values()] * 2)
    assert all(each.interval == (each.value, each.value) for each in chance)


def test_chance_of_many_pairs_by_hand():
    results = crossing(*draw())
    chance = [result.baselines["chance"].value for result in results[:4]]
    assert chance == pytest.approx([1 / N, 5 / N, 10 / N, sum(1 / r for r in range(1, N + 1)) / N])
    assert results[4].baselines["chance"].value == pytest.approx(sum(1 / math.log2(1 + r) for r in range(1, 11)) / N)


def test_rotation_length_order_and_names_of_ids_do_not_matter():
    first, second = draw()
    generator = torch.Generator().manual_seed(3)
    turn, order = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q, torch.randperm(N, generator=generator)
    expected = values(crossing(first, second, ids=IDS))
    assert values(crossing(4 * first[order] @ turn, second[order] @ turn, ids=90 - IDS[order])) == pytest.approx(
        expected, abs=1e-6
    )
    back = values(crossing(second, first, ids=IDS, names=("second", "first")))
    assert back == expected


def test_an_encoder_that_has_collapsed_finds_in_the_order_of_its_data():
    results = values(crossing(torch.ones(40, 3), torch.ones(40, 3), ks=(1, 10)))
    assert (results["first to second recall@1"], results["first to second recall@10"]) == (1 / 40, 0.25)
    assert results["first to second MRR"] == pytest.approx(sum(1 / r for r in range(1, 41)) / 40)


def test_fewer_pairs_than_the_depth_of_ndcg():
    assert values(crossing(torch.eye(3), torch.eye(3), ks=(1, 3))) == pytest.approx(
        {
            f"{way} {name}": 1
            for way in ("first to second", "second to first")
            for name in ("recall@1", "recall@3", "MRR", "nDCG@10")
        }
    )


EYE = torch.eye(4)


@pytest.mark.parametrize(
    ("first", "second", "ids", "ks", "words"),
    [
        (EYE, EYE, None, (5,), "^k = 5: expected 1 to 4"),
        (EYE, EYE, None, (), "^k = 0: expected 1 to 4"),
        (EYE, EYE[:3], None, (1,), "^4 first and 3 second features"),
        (EYE, EYE, [1, 2], (1,), r"ids of shape \(2,\): expected N, N and \(N,\)"),
        (EYE, torch.eye(3), None, (1,), "^second features have 3 dimensions where 4 are"),
        (EYE / 0, EYE, None, (1,), "^4 of 4 first features are not finite"),
    ],
)
def test_unusable_input_is_named(first, second, ids, ks, words):
    with pytest.raises(InputError, match=words):
        crossing(first, second, ids=ids, ks=ks)
