import numpy as np
import pytest
import torch

from twinlens.errors import InputError
from twinlens.evaluate import zero_shot
from twinlens.evaluate.zero_shot import PROMPTS, class_embeddings, prompts

N, K, P, D = 80, 5, 3, 8


def draw(seed=0, noise=0.6):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (N,), generator=generator)
    classes = 3 * torch.eye(K, D)[:, None] + torch.randn(K, P, D, generator=generator)
    lengths = torch.rand(K, P, 1, generator=generator) * 9 + 0.1
    return torch.eye(K, D)[labels] + noise * torch.randn(N, D, generator=generator), labels, lengths * classes


def test_equals_a_loop_over_samples_and_classes():
    x, y, classes = draw()
    right = 0
    for z, label in zip(x.double(), y.tolist()):
        scores = []
        for texts in classes.double():
            mean = sum(text / text.norm() for text in texts) / P
            scores.append(float(z @ mean / mean.norm()))
        right += max(range(K), key=lambda k: scores[k]) == label
    result = zero_shot(x, y, classes)
    assert result.value == pytest.approx(right / N)
    assert 0.4 < result.interval[0] < result.value < result.interval[1] < 1
    assert (result.settings["classes"], result.settings["prompts"]) == (K, P)
    assert result.baselines["chance"].value == 1 / K
    assert result.baselines["majority class"].value == pytest.approx(int(y.bincount().max()) / N)


def test_by_hand():
    classes = torch.tensor([[9.0, 0], [0, 0.1]])
    result = zero_shot(np.array([[1, 0.5], [1, 2], [3, 2], [1, 1]], np.float32), [0, 1, 1, 1], classes)
    assert result.value == 0.5  # the third is nearer to 0; the last to both, so the first counts
    assert result.baselines["chance"].interval == (0.5, 0.5) and result.baselines["majority class"].value == 0.75
    # of length 1 each, (1, 0) and (0, 1) count alike; the longer would win otherwise
    assert class_embeddings(torch.tensor([[[100.0, 0], [0, 1]]])).tolist() == [[pytest.approx(0.5**0.5)] * 2]


def test_rotation_length_order_of_classes_and_of_prompts_do_not_matter():
    x, y, classes = draw()
    value = zero_shot(x, y, classes).value
    generator = torch.Generator().manual_seed(1)
    turn, order = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q, torch.tensor([3, 0, 4, 1, 2])
    assert zero_shot(7 * x @ turn, y, classes @ turn).value == value
    assert zero_shot(x, order.argsort()[y], classes[order].flip(1)).value == value
    assert zero_shot(x, y, class_embeddings(classes)).value == value
    assert zero_shot(x, y, classes[:, :1]).value == zero_shot(x, y, classes[:, 0]).value


def test_an_encoder_that_has_collapsed_is_no_better_than_one_answer_for_all():
    _, y, _ = draw()
    result = zero_shot(torch.ones(N, D), y, torch.ones(K, P, D))
    assert result.value == pytest.approx(float((y == 0).float().mean()))
    assert result.value <= result.baselines["majority class"].value


def test_prompts_are_filled():
    assert prompts(["dog", "traffic_light"], ["a {}.", "{}"]) == [
        ["a dog.", "dog"],
        ["a traffic light.", "traffic light"],
    ]
    assert all(len(filled) == len(PROMPTS) and "{" not in "".join(filled) for filled in prompts(["cat", "bird"]))
    assert prompts(["{odd}"], ["a {}"]) == [["a {odd}"]]


EYE = torch.eye(3)


@pytest.mark.parametrize(
    ("features", "labels", "classes", "words"),
    [
        (EYE, [0, 1, 3], EYE, "^1 of 3 labels are not among 0 to 2"),
        (EYE, [0, 1, -1], EYE, "^1 of 3 labels are not among 0 to 2"),
        (EYE, [0, 1], EYE, r"^test labels of shape \(2,\) for 3 rows"),
        (EYE, [0, 1, 2], torch.eye(4), "^embeddings of classes have 4 dimensions, features 3"),
        (EYE, [0, 1, 2], torch.ones(3), r"^embeddings of classes of shape \(3,\)"),
        (EYE, [0, 1, 2], torch.ones(3, 0, 3), r"^embeddings of classes of shape \(3, 0, 3\)"),
        (EYE, [0, 1, 2], EYE / 0, "^3 of 3 class features are not finite"),
        (EYE / 0, [0, 1, 2], EYE, "^3 of 3 test features are not finite"),
    ],
)
def test_unusable_input_is_named(features, labels, classes, words):
    with pytest.raises(InputError, match=words):
        zero_shot(features, labels, classes)


@pytest.mark.parametrize(
    ("names", "templates", "words"),
    [
        ([], PROMPTS, "^0 names in 4 templates"),
        (["dog"], (), "^1 names in 0 templates"),
        (["dog"], ["a photo"], "^template 'a photo': expected one {}"),
        (["dog"], ["{} {}"], "^template '{} {}': expected one {}"),
    ],
)
def test_templates_that_cannot_be_filled_are_named(names, templates, words):
    with pytest.raises(InputError, match=words):
        prompts(names, templates)
