import math

import pytest
import torch

from twinlens.evaluate import Labelled, knn
from twinlens.evaluate.knn import vote


def blobs(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return Labelled(torch.eye(3, 5)[labels] + 0.6 * torch.randn(count, 5, generator=generator), labels)


def slow(train, test, k, temperature):
    right = 0
    for z, label in zip(test.features.double(), test.labels.tolist()):
        near = sorted(
            ((float(z @ x / z.norm() / x.norm()), int(y)) for x, y in zip(train.features.double(), train.labels))
        )
        votes = dict.fromkeys(range(3), 0.0)
        for similarity, y in near[-k:]:
            votes[y] += math.exp(similarity / temperature)
        right += max(votes, key=votes.__getitem__) == label
    return right / len(test.labels)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (200, 1.0)])
def test_equals_a_loop_over_votes(k, temperature):
    train, test = blobs(90), blobs(60, seed=1)
    result = knn(train, test, k=k, temperature=temperature)
    assert result.value == pytest.approx(slow(train, test, k, temperature))
    assert 0.5 < result.value < 1
    assert result.settings["k"] == min(k, 90)


def test_vote_by_hand():
    weights = vote(torch.tensor([[1.0, 0.5, 0.5]]), torch.tensor([[2, 0, 0]]), temperature=0.5)
    torch.testing.assert_close(weights, torch.tensor([[2 * math.exp(-1), 0.0, 1.0]]))


def test_small_temperature_does_not_overflow():
    assert vote(torch.tensor([[1.0, -1.0]]), torch.tensor([[0, 1]]), temperature=1e-3).isfinite().all()


def test_length_of_features_and_names_of_classes_do_not_matter():
    train, test = blobs(90), blobs(60, seed=1)
    names = torch.tensor([40, -3, 7])
    scale = torch.rand(90, 1, generator=torch.Generator().manual_seed(0)) + 0.1
    renamed = knn(
        Labelled(train.features * scale, names[train.labels]), Labelled(test.features * 9, names[test.labels])
    )
    assert renamed.value == knn(train, test).value


def test_a_class_that_training_lacks_is_never_right():
    train, test = blobs(90), blobs(60, seed=1)
    assert knn(train, test._replace(labels=torch.full((60,), 5))).value == 0
