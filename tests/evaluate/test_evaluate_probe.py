import pytest
import torch
from sklearn.linear_model import LogisticRegression

from twinlens.errors import InputError
from twinlens.evaluate import Labelled, linear_probe
from twinlens.evaluate.probe import DEFAULT, FOLDS, PENALTIES, places, predict, prepare

D = 20


def draw(count, seed, noise=2.5):
    """Four overlapping classes in features of very different scale."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    features = torch.eye(4, D)[labels] * 4 + noise * torch.randn(count, D, generator=generator)
    return Labelled(features * torch.logspace(-2, 2, D) + 3, labels)


@pytest.fixture(scope="module")
def parts():
    return draw(2000, 0), draw(2000, 1)


def test_accuracy_is_that_of_scikit_learn_at_the_penalty_chosen(parts):
    result, task = linear_probe(*parts), prepare(*parts)
    model = LogisticRegression(C=1 / (result.settings["penalty"] * len(task.x)), tol=1e-6, max_iter=2000)
    model.fit(task.x.numpy(), task.y.numpy())
    assert result.value == pytest.approx(model.score(task.test_x.numpy(), task.test_y.numpy()), abs=0.003)
    assert 0.5 < result.value < 0.95
    assert result.interval[0] < result.value < result.interval[1]


def test_penalty_is_chosen_on_training_labels_alone(parts):
    train, test = parts
    first, second = linear_probe(train, test), linear_probe(train, test._replace(labels=test.labels.flip(0)))
    assert first.settings == second.settings
    assert first.value != second.value
    assert first.settings["chosen on"].endswith("of 2000 training labels")
    weak, strong = linear_probe(draw(2000, 0, noise=0.5), test), linear_probe(draw(40, 0, noise=8), test)
    assert weak.settings["penalty"] < strong.settings["penalty"]


def test_scale_shift_and_constant_features_do_not_matter(parts):
    train, test = parts
    scale, shift = torch.logspace(1, -1, D), torch.linspace(-5, 5, D)
    moved = [
        Labelled(torch.cat((part.features * scale + shift, torch.full((len(part.labels), 1), 0.3)), 1), part.labels)
        for part in parts
    ]
    assert linear_probe(*moved).value == pytest.approx(linear_probe(train, test).value, abs=0.002)


def test_features_are_standardised_by_the_training_part(parts):
    task = prepare(*parts)
    torch.testing.assert_close(task.x.double().mean(0), torch.zeros(D).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(task.x.double().square().mean(0), torch.ones(D).double(), atol=1e-5, rtol=0)
    x = parts[0].features.double()
    expected = (parts[1].features.double() - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(task.test_x.double(), expected, atol=1e-4, rtol=1e-4)


def test_labels_are_matched_by_value():
    train = Labelled(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([9, 4, 9]))
    task = prepare(train, Labelled(torch.zeros(4, 1), torch.tensor([4, 5, 9, 11])))
    assert task.y.tolist() == [1, 0, 1]
    assert task.test_y.tolist() == [0, -1, 1, -1]


def test_places_are_a_random_order_of_each_class():
    y = torch.tensor([1, 0, 1, 1, 0, 2] * 20)
    first = places(y, 0, 0)
    for label in range(3):
        assert first[y == label].sort().values.tolist() == list(range(int((y == label).sum())))
    assert not torch.equal(first, places(y, 0, 1))
    assert not torch.equal(first, places(y, 1, 0))
    counts = torch.stack([places(y, 0, draw)[2] for draw in range(600)]).bincount(minlength=60)
    assert counts.max() < 30  # 10 expected of each place


def test_prediction_by_hand():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])[None, None]
    assert predict(torch.tensor([[2.0, 1.0], [2.0, 1.6]]), weights).tolist() == [[0, 1]]


def test_penalties_run_from_strong_to_weak():
    assert list(PENALTIES) == sorted(PENALTIES, reverse=True)


def test_fewer_labels_than_folds_take_the_default():
    result = linear_probe(Labelled(torch.eye(8), torch.arange(8) % 2), Labelled(torch.eye(8), torch.arange(8) % 2))
    assert result.settings["penalty"] == DEFAULT
    assert FOLDS > 4
    assert result.value == 1


def test_collapsed_features_are_named():
    part = Labelled(torch.full((10, 3), 0.1), torch.arange(10) % 2)
    with pytest.raises(InputError, match="all 3 training features are constant"):
        linear_probe(part, part)
