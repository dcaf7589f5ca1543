import sys
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from twinlens.errors import InputError
from twinlens.evaluate import Labelled, cluster
from twinlens.evaluate.cluster import _assign, ari, intervals, matched, nmi, scores

D = 6


def draw(count, seed, noise=0.3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    return Labelled(torch.eye(4, D)[labels] + noise * torch.randn(count, D, generator=generator), labels)


def values(results):
    return {result.name: result.value for result in results}


def count(clusters, labels):
    table = np.zeros((max(clusters) + 1, max(labels) + 1))
    np.add.at(table, (clusters, labels), 1)
    return table


def best_order(table):
    """The most items right over every assignment of classes to clusters, by trying them all."""
    small, large = sorted(table.shape)
    wide = table if table.shape[0] == small else table.T
    return max(sum(wide[i, j] for i, j in enumerate(order)) for order in permutations(range(large), small))


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (5, 3), (2, 5), (4, 1), (1, 4)])
def test_scores_equal_scikit_learn_and_every_assignment_tried(rows, columns):
    random = np.random.default_rng(rows * 10 + columns)
    for items in (12, 200):
        clusters, labels = random.integers(rows, size=items), random.integers(columns, size=items)
        labels[: items // 2] = clusters[: items // 2] % columns  # half of them agree
        table = count(clusters, labels)
        assert nmi(table) == pytest.approx(normalized_mutual_info_score(labels, clusters), abs=1e-12)
        assert ari(table) == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-12)
        assert matched(table) == best_order(table) / items
        assert scores(table).tolist() == [nmi(table), ari(table), matched(table)]


def test_scores_by_hand():
    assert scores(np.diag([3.0, 5.0, 2.0])[[2, 0, 1]]).tolist() == pytest.approx([1, 1, 1])
    assert scores(np.full((2, 2), 10.0)).tolist() == pytest.approx([0, -1 / 38, 0.5], abs=1e-12)
    assert scores(np.array([[4.0]])).tolist() == [1, 1, 1]
    table = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # of 6 pairs 1 is together in both, 1 in clusters, 3 in classes: by chance 1 * 3 / 6, at most (1 + 3) / 2
    assert ari(table) == pytest.approx((1 - 0.5) / (2 - 0.5))
    assert matched(table) == 0.75
    assert nmi(table) == pytest.approx(2 * 0.562335 / (1.039721 + 0.562335), abs=1e-6)


def test_cluster_scores_what_k_means_finds():
    from sklearn.cluster import KMeans

    test = draw(300, 0)
    unit = test.features / test.features.norm(dim=1, keepdim=True)
    found = KMeans(4, n_init=10, random_state=0).fit(unit.numpy()).labels_
    results = cluster(test)
    assert values(results) == pytest.approx(
        {
            "NMI": normalized_mutual_info_score(test.labels, found),
            "ARI": adjusted_rand_score(test.labels, found),
            "cluster accuracy": best_order(count(found, test.labels.numpy())) / 300,
        }
    )
    assert all(0.3 < result.value < 0.99 for result in results)
    assert all(result.interval[0] < result.value < result.interval[1] for result in results)
    assert results[0].settings == {
        "clusters": 4,
        "found": 4,
        "classes": 4,
        "algorithm": "k-means, best of 10",
        "seed": 0,
    }
    assert cluster(tuple(test)) == results == cluster(Labelled(*(part.numpy() for part in test)))


def test_rotation_length_names_of_classes_and_order_do_not_matter():
    test, generator = draw(400, 0, noise=0.15), torch.Generator().manual_seed(0)
    turn, order = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q, torch.randperm(400, generator=generator)
    features = (torch.rand(400, 1, generator=generator) * 9 + 0.1) * test.features @ turn
    moved = Labelled(features[order], torch.tensor([40, -3, 7, 0])[test.labels][order])
    assert values(cluster(moved, seed=3)) == pytest.approx(values(cluster(test)))


def test_labels_do_not_move_the_clusters():
    test = draw(300, 0)
    mixed = cluster(test._replace(labels=test.labels[torch.randperm(300, generator=torch.Generator().manual_seed(0))]))
    assert abs(values(mixed)["ARI"]) < 0.03
    assert values(mixed)["NMI"] < 0.05
    assert values(mixed)["cluster accuracy"] < 0.4
    assert mixed[1].interval[0] < 0.005


def test_other_numbers_of_clusters_and_collapse_are_reported(recwarn):
    test = draw(300, 0)
    many = cluster(test, clusters=12)
    assert many[0].settings["clusters"] == 12 and many[0].settings["classes"] == 4
    assert many[2].value < 0.6  # eight clusters have no class
    collapsed = cluster(test._replace(features=torch.ones(300, D)))
    assert collapsed[0].settings["found"] == 1
    assert values(collapsed) == {"NMI": 0, "ARI": 0, "cluster accuracy": int(test.labels.bincount().max()) / 300}
    assert not recwarn.list


def test_many_items_are_clustered_in_mini_batches(monkeypatch):
    from sklearn.cluster import MiniBatchKMeans

    test = draw(600, 0, noise=0.6)
    whole = cluster(test)
    monkeypatch.setattr(sys.modules[_assign.__module__], "_MANY", 599)
    results = cluster(test)
    assert results[0].settings["algorithm"] == "mini-batch k-means"
    unit = test.features / test.features.norm(dim=1, keepdim=True)
    found = MiniBatchKMeans(4, n_init=10, random_state=0).fit(unit.numpy()).labels_
    assert results[1].value == pytest.approx(adjusted_rand_score(test.labels, found))
    assert results[1].value != whole[1].value and results[1].value == pytest.approx(whole[1].value, abs=0.1)


def test_intervals_are_those_of_drawing_items_again():
    random = np.random.default_rng(0)
    labels = random.integers(4, size=80)
    clusters = np.where(random.random(80) < 0.5, labels, random.integers(4, size=80))
    again = np.empty((600, 3))
    for row in again:
        items = random.integers(80, size=80)
        y, c = labels[items], clusters[items]
        row[:] = (normalized_mutual_info_score(y, c), adjusted_rand_score(y, c), best_order(count(c, y)) / 80)
    value, (low, high) = scores(count(clusters, labels)), np.quantile(again, (0.025, 0.975), axis=0)
    raised = again.mean(axis=0) - value
    assert raised[0] > 0.02 and raised[1] > 0.008  # what makes plain percentiles wrong
    flipped = [(2 * v - h, max(v, 2 * v - least)) for v, least, h in zip(value, low, high)]
    expected = [flipped[0], (low[1] - raised[1], high[1] - raised[1]), flipped[2]]
    assert np.array(intervals(count(clusters, labels))) == pytest.approx(np.array(expected), abs=0.02)


@pytest.mark.parametrize("agree", [0.0, 0.15, 0.6])
def test_intervals_cover_the_truth(agree):
    share, random = np.full((5, 5), (1 - agree) / 25) + np.eye(5) * agree / 5, np.random.default_rng(1)
    truth, covered = scores(share * 1e9), np.zeros(3)
    for _ in range(40):
        table = random.multinomial(500, share.ravel()).reshape(5, 5).astype(float)
        found = intervals(table, resamples=150)
        covered += [low <= value + 1e-6 and value - 1e-6 <= high for (low, high), value in zip(found, truth)]
        assert all(low <= value <= high for (low, high), value in zip(found, scores(table)))
    least = (34, 34, 34) if agree else (38, 12, 22)  # without any agreement, the best assignment is all luck
    assert (covered >= least).all(), covered


def test_intervals_stay_within_what_a_score_can_be():
    for table in (np.diag([30.0, 20.0]), np.array([[2.0, 1.0], [1.0, 2.0]]), np.full((3, 3), 2.0)):
        for (low, high), floor in zip(intervals(table), (0, -0.5, 0)):
            assert floor <= low <= high <= 1
    assert intervals(np.diag([30.0, 20.0])) == [(1, 1)] * 3
    table = np.array([[30.0, 5.0], [10.0, 25.0]])
    assert intervals(table) == intervals(table) != intervals(table, seed=1)


@pytest.mark.parametrize(
    ("test", "clusters", "words"),
    [
        (draw(9, 0), 1, "^clusters = 1: expected 2 to 9, "),
        (draw(9, 0), 10, "^clusters = 10: expected 2 to 9, "),
        (draw(9, 0)._replace(labels=torch.full((9,), 7)), None, "^all 9 test labels are 7: at least 2 classes"),
        (draw(9, 0)._replace(labels=torch.arange(8)), None, r"^test labels of shape \(8,\) for 9 rows"),
        (draw(9, 0)._replace(features=torch.full((9, 2), torch.nan)), None, "^9 of 9 test features are not finite"),
    ],
)
def test_unusable_input_is_named(test, clusters, words):
    with pytest.raises(InputError, match=words):
        cluster(test, clusters=clusters)
