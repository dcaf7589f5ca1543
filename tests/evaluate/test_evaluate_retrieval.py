import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.evaluate import Labelled, retrieval
from twinlens.evaluate.retrieval import rank

D = 8


def draw(count, seed, classes=5, noise=0.8):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return Labelled(torch.eye(classes, D)[labels] + noise * torch.randn(count, D, generator=generator), labels)


@pytest.fixture(scope="module")
def parts():
    return draw(120, 0), draw(70, 1)


def values(results):
    return {result.name: result.value for result in results}


def slow(gallery, queries, ks):
    """A loop over queries in float64, and scikit-learn's average precision."""
    found, precisions = {k: [] for k in ks}, []
    for i, (z, label) in enumerate(zip((queries or gallery).features.double(), (queries or gallery).labels.tolist())):
        others = [j for j in range(len(gallery.labels)) if queries is not None or j != i]
        x = gallery.features.double()[others]
        cosine = (x @ z / x.norm(dim=1) / z.norm()).tolist()
        same = [int(gallery.labels[j]) == label for j in others]
        nearest = [same[j] for j in sorted(range(len(others)), key=lambda j: -cosine[j])]
        for k in ks:
            found[k].append(any(nearest[:k]))
        precisions.append(average_precision_score(same, cosine))
    return {**{f"recall@{k}": np.mean(found[k]) for k in ks}, "mAP": np.mean(precisions)}


@pytest.mark.parametrize("apart", [True, False])
def test_equals_a_loop_over_queries(parts, apart):
    queries = parts[1] if apart else None
    results = retrieval(parts[0], queries, ks=(1, 2, 7))
    assert values(results) == pytest.approx(slow(parts[0], queries, (1, 2, 7)), abs=1e-6)
    assert 0.2 < results[0].value < results[1].value < results[2].value < 1
    assert all(result.interval[0] < result.value < result.interval[1] for result in results)
    assert results[0].settings["queries"] == (70 if apart else 120)
    assert results[0].settings["gallery"] == (120 if apart else 119)


def test_by_hand():
    # of the query's label are the nearest but one and the last of four: (1 / 2 + 2 / 4) / 2
    gallery = Labelled(np.array([[1, 0], [1, 0.1], [1, 0.5], [0, 1]], np.float32), np.array([7, 3, 7, 3]))
    results = retrieval(gallery, Labelled(np.array([[2, 0]], np.float32), np.array([3])), ks=(1, 2))
    assert values(results) == {"recall@1": 0, "recall@2": 1, "mAP": 0.5}


def test_a_sample_does_not_find_itself_but_does_find_its_double():
    x = torch.eye(4).repeat(2, 1)
    double = retrieval(Labelled(x, torch.arange(4).repeat(2)), ks=(1,))
    assert values(double) == {"recall@1": 1, "mAP": 1}
    other = retrieval(Labelled(x, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])), ks=(1,))
    assert other[0].value == 0  # its double, of another label, stands in front of all others
    first, precision = rank(x, torch.arange(8), x, torch.arange(8))
    assert first.tolist() == [1] * 4 + [2] * 4 and precision.tolist() == [1.0] * 4 + [0.5] * 4


def test_of_equal_similarities_the_lower_index_is_first():
    gallery = Labelled(torch.ones(40, 3), torch.arange(40))
    first, _ = rank(torch.ones(40, 3), torch.arange(40), gallery.features, gallery.labels)
    assert first.tolist() == list(range(1, 41))


def test_queries_with_nothing_to_find_are_left_out_and_counted(parts):
    gallery, queries = parts
    more = Labelled(torch.cat((queries.features, torch.ones(9, D))), torch.cat((queries.labels, torch.full((9,), 50))))
    assert values(retrieval(gallery, more)) == values(retrieval(gallery, queries))
    assert retrieval(gallery, more)[0].settings["left out"] == 9
    alone = Labelled(torch.cat((gallery.features, torch.ones(1, D))), torch.cat((gallery.labels, torch.tensor([50]))))
    assert retrieval(alone)[0].settings["left out"] == 1
    none = rank(queries.features, queries.labels + 50, gallery.features, gallery.labels)
    assert none[0].tolist() == [121] * 70 and none[1].tolist() == [0] * 70


def test_blocks_do_not_change_the_ranks(parts, monkeypatch):
    unit = [normalize(part.features) for part in parts]
    for itself, query, t in ((True, unit[1], parts[1].labels), (False, unit[0], parts[0].labels)):
        whole = rank(query, t, unit[0], parts[0].labels, itself=itself)
        monkeypatch.setattr(sys.modules[rank.__module__], "_AT_ONCE", 7 * 120)
        torch.testing.assert_close(rank(query, t, unit[0], parts[0].labels, itself=itself), whole)
        monkeypatch.undo()


def test_rotation_length_names_of_classes_and_order_do_not_matter(parts):
    gallery, queries = parts
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q
    order, names = torch.randperm(120, generator=generator), torch.tensor([4, -3, 90, 7, 0])
    scale = torch.rand(120, 1, generator=generator) + 0.1
    moved = Labelled((gallery.features * scale @ turn)[order], names[gallery.labels][order])
    expected, own = values(retrieval(gallery, queries)), values(retrieval(gallery))
    assert values(retrieval(moved, Labelled(9 * queries.features @ turn, names[queries.labels]))) == pytest.approx(
        expected, abs=1e-6
    )
    assert values(retrieval(moved)) == pytest.approx(own, abs=1e-6)


def test_features_that_know_nothing_find_as_often_as_chance():
    gallery, queries = draw(2000, 0, noise=1e6), draw(2000, 1, noise=1e6)
    found = values(retrieval(gallery, queries))
    assert found["recall@1"] == pytest.approx(0.2, abs=0.03)
    assert found["recall@5"] == pytest.approx(1 - 0.8**5, abs=0.03)
    assert found["mAP"] == pytest.approx(0.2, abs=0.01)


def test_intervals_cover_what_many_queries_find(parts):
    truth = values(retrieval(parts[0], draw(20_000, 99), ks=(1,)))
    covered = dict.fromkeys(truth, 0)
    for seed in range(40):
        for result in retrieval(parts[0], draw(150, 100 + seed), ks=(1,)):
            covered[result.name] += result.interval[0] <= truth[result.name] <= result.interval[1]
    assert min(covered.values()) >= 34


EYE = Labelled(torch.eye(4), torch.arange(4) % 2)


@pytest.mark.parametrize(
    ("gallery", "queries", "ks", "words"),
    [
        (EYE, EYE, (1, 5), r"^k = 5: expected 1 to 4, "),
        (EYE, None, (4,), r"^k = 4: expected 1 to 3, "),
        (EYE, None, (0,), r"^k = 0: expected 1 to 3, "),
        (EYE, Labelled(torch.eye(4), torch.arange(4) + 2), (1,), "^none of 4 queries has"),
        (Labelled(torch.eye(4), torch.arange(4)), None, (1,), "^none of 4 queries has"),
        (EYE, Labelled(torch.eye(3), torch.arange(3)), (1,), "^query features have 3 dimensions where 4 are"),
        (EYE, Labelled(torch.eye(4), torch.arange(3)), (1,), r"^query labels of shape \(3,\) for 4 rows"),
        (Labelled(torch.eye(4) / 0, torch.arange(4)), EYE, (1,), "^4 of 4 gallery features are not finite"),
        (Labelled(torch.ones(4), torch.arange(4)), EYE, (1,), r"^gallery features of shape \(4,\): expected \(N, D\)"),
        (EYE, Labelled(torch.ones(0, 4), torch.ones(0)), (1,), r"^query features of shape \(0, 4\)"),
    ],
)
def test_unusable_input_is_named(gallery, queries, ks, words):
    with pytest.raises(InputError, match=words):
        retrieval(gallery, queries, ks=ks)
