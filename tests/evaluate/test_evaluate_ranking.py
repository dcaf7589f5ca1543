import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from twinlens.errors import InputError
from twinlens.evaluate import ranked

M, N, D = 30, 80, 6


def draw(seed=0):
    """Queries, a corpus, and grades 1 to 3 of what is near in half of the dimensions; some queries have none."""
    generator = torch.Generator().manual_seed(seed)
    z, x = (torch.randn(count, D, generator=generator) for count in (M, N))
    near = z[:, :3] @ x[:, :3].T
    relevant = [
        {int(j): float(r) for r, j in enumerate(row.topk(3 + i % 5).indices[-3:], 1)} for i, row in enumerate(near)
    ]
    relevant[4], relevant[9] = {}, {3: 0.0, 5: -1.0}
    return z, x, relevant


def values(results):
    return {result.name: result.value for result in results}


@pytest.mark.parametrize("ks", [(1, 5, 10), (3,), (N,)])
def test_equals_a_loop_over_queries_and_scikit_learn(ks):
    z, x, relevant = draw()
    expected = {f"{name}@{k}": [] for name in ("nDCG", "recall") for k in ks}
    for query, grades in zip(z.double(), relevant):
        grades = {j: grade for j, grade in grades.items() if grade > 0}
        if not grades:
            continue
        cosine = [float(query @ row / query.norm() / row.norm()) for row in x.double()]
        ranking = sorted(range(N), key=lambda j: -cosine[j])
        for k in ks:
            gain = sum(grades.get(j, 0) / math.log2(r + 1) for r, j in enumerate(ranking[:k], 1))
            best = sum(g / math.log2(r + 1) for r, g in enumerate(sorted(grades.values(), reverse=True)[:k], 1))
            expected[f"nDCG@{k}"].append(gain / best)
            expected[f"recall@{k}"].append(sum(j in grades for j in ranking[:k]) / len(grades))
            truth = [[grades.get(j, 0) for j in range(N)]]
            assert gain / best == pytest.approx(ndcg_score(truth, [cosine], k=k), abs=1e-9)
    results = ranked(z, x, relevant, ks=ks)
    assert values(results) == pytest.approx({name: np.mean(each) for name, each in expected.items()}, abs=1e-6)
    assert list(values(results)) == list(expected)
    assert (results[0].settings["queries"], results[0].settings["left out"]) == (M - 2, 2)


def test_by_hand():
    x = torch.tensor([[1.0, 0], [1, 1], [0, 1], [-1, 1]])
    results = ranked(torch.tensor([[3.0, 0]]), x, [{1: 2, 3: 1}], ks=(1, 2, 4))  # found at ranks 2 and 4
    best = 2 + 1 / math.log2(3)
    assert values(results) == pytest.approx(
        {
            "nDCG@1": 0,
            "nDCG@2": 2 / math.log2(3) / best,
            "nDCG@4": (2 / math.log2(3) + 1 / math.log2(5)) / best,
            "recall@1": 0,
            "recall@2": 0.5,
            "recall@4": 1,
        },
        abs=1e-6,
    )


def test_chance_is_the_mean_over_all_orders():
    relevant, ks = [{0: 3.0, 2: 1.0, 5: 1.0}, {4: 2.0}], (1, 2, 4)
    found = {f"{name}@{k}": [] for name in ("nDCG", "recall") for k in ks}
    for grades in relevant:
        for order in itertools.permutations(range(6)):
            gains = [grades.get(j, 0) for j in order]
            for k in ks:
                gain, best = (
                    sum(g / math.log2(r + 1) for r, g in enumerate(some[:k], 1))
                    for some in (gains, sorted(gains, reverse=True))
                )
                found[f"nDCG@{k}"].append(gain / best)
                found[f"recall@{k}"].append(sum(g > 0 for g in gains[:k]) / len(grades))
    generator = torch.Generator().manual_seed(0)
    z, x = torch.randn(2, 3, generator=generator), torch.randn(6, 3, generator=generator)
    chance = {result.name: result.baselines["chance"].value for result in ranked(z, x, relevant, ks=ks)}
    assert chance == pytest.approx({name: np.mean(each) for name, each in found.items()})


def test_order_of_the_corpus_rotation_and_length_do_not_matter():
    z, x, relevant = draw()
    generator = torch.Generator().manual_seed(3)
    turn, order = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q, torch.randperm(N, generator=generator)
    place = order.argsort().tolist()
    moved = [{place[j]: 2 * grade for j, grade in grades.items()} for grades in relevant]
    again = ranked(9 * z @ turn, (x * torch.rand(N, 1, generator=generator) + 0.0)[order] @ turn, moved)
    assert values(again) == pytest.approx(values(ranked(z, x, relevant)), abs=1e-6)


EYE = torch.eye(4)
ONE = [{0: 1.0}] * 4


@pytest.mark.parametrize(
    ("queries", "relevant", "ks", "words"),
    [
        (EYE, ONE, (5,), "^k = 5: expected 1 to 4"),
        (EYE, ONE, (), "^k = 0: expected 1 to 4"),
        (EYE, ONE[:3], (1,), "^3 mappings of what is relevant for 4 queries"),
        (EYE, [{4: 1.0}, *ONE[1:]], (1,), "^1 of 4 relevant rows are not among 0 to 3"),
        (EYE, [{-1: 1.0}, *ONE[1:]], (1,), "^1 of 4 relevant rows are not among 0 to 3"),
        (EYE, [{0: math.nan}, *ONE[1:]], (1,), "^1 of 4 grades are not finite"),
        (EYE, [{}, {0: 0.0}, {}, {}], (1,), "^none of 4 queries has anything relevant"),
        (torch.eye(3), ONE[:3], (1,), "^query features have 3 dimensions where 4 are"),
    ],
)
def test_unusable_input_is_named(queries, relevant, ks, words):
    with pytest.raises(InputError, match=words):
        ranked(queries, EYE, relevant, ks=ks)
