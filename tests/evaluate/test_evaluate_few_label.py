import pytest
import torch
from sklearn.linear_model import LogisticRegression

from twinlens.errors import InputError
from twinlens.evaluate import Labelled, few_label
from twinlens.evaluate.few_label import _draw
from twinlens.evaluate.probe import prepare


def draw(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return Labelled(torch.eye(3, 30)[labels] * 3 + torch.randn(count, 30, generator=generator), labels)


@pytest.fixture(scope="module")
def parts():
    return draw(150, 0), draw(1000, 1)


@pytest.mark.parametrize("shots", [1, 4, 5, 20])
def test_accuracy_is_that_of_scikit_learn_over_the_same_draws(parts, shots):
    result, task = few_label(*parts, shots=shots, draws=3), prepare(*parts)
    scores = []
    for number, penalty in enumerate(result.settings["penalty"]):
        picked = _draw(task.y, shots, 0, number)
        model = LogisticRegression(C=1 / (penalty * len(picked)), tol=1e-8, max_iter=2000)
        model.fit(task.x[picked].numpy(), task.y[picked].numpy())
        scores.append(model.score(task.test_x.numpy(), task.test_y.numpy()))
    assert result.value == pytest.approx(sum(scores) / 3, abs=0.004)
    assert 0.4 < result.value < 1


def test_a_draw_holds_each_class_equally_and_no_sample_twice(parts):
    y = parts[0].labels
    picked = _draw(y, 7, 0, 0)
    assert y[picked].tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert len(picked.unique()) == 21
    assert not torch.equal(picked, _draw(y, 7, 0, 1))
    assert not torch.equal(picked, picked.sort().values)  # folds are cut from this order: it must be random
    assert torch.equal(_draw(y, 3, 0, 0), picked.view(3, 7)[:, :3].flatten())  # more shots add labels to the same


def test_more_labels_help_and_draws_widen_the_interval(parts):
    few, many = (few_label(*parts, shots=shots) for shots in (1, 40))
    assert many.value > few.value + 0.05
    widths = [high - low for low, high in (few.interval, many.interval)]
    assert widths[0] > widths[1] > 0
    assert few_label(*parts, shots=1) == few


def test_the_penalty_is_chosen_within_the_few_labels(parts):
    train, test = parts
    result = few_label(train, test, shots=10, draws=2)
    flipped = few_label(train, test._replace(labels=test.labels.flip(0)), shots=10, draws=2)
    assert result.settings == flipped.settings
    assert result.settings["chosen on"] == "5 folds of the drawn labels"


@pytest.mark.parametrize("shots", [0, 51])
def test_shots_that_a_class_does_not_have_are_named(parts, shots):
    with pytest.raises(InputError, match=f"shots = {shots}: expected 1 to 50"):
        few_label(*parts, shots=shots)
