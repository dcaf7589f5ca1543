"""What lies under tokens, predicted: words, values, normalised values and levels."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from twinlens.batch import PAD
from twinlens.errors import InputError
from twinlens.heads.content import Content, normalised


def content(*, patch_dim: int = 4, vocabulary: int | None = None, **how: Any) -> Content:
    torch.manual_seed(0)
    return Content(SimpleNamespace(patch_dim=patch_dim, vocabulary=vocabulary), 6, **how).double()


def nats(scores: Tensor, answer: int) -> float:
    return math.log(sum(math.exp(score) for score in scores.tolist())) - float(scores[answer])


@pytest.fixture
def patches() -> Tensor:
    return torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4 - 2


@pytest.mark.parametrize(("how", "out"), [({}, 4), ({"levels": 5}, 20), ({"vocabulary": 7, "patch_dim": 1}, 7)])
def test_it_predicts_for_each_token_by_itself(how: dict[str, Any], out: int) -> None:
    head, tokens = content(**how), torch.randn(2, 3, 6, dtype=torch.float64)
    assert head(tokens).shape == (2, 3, out)
    torch.testing.assert_close(head(tokens)[1, 2], head.predict.weight @ tokens[1, 2] + head.predict.bias)


def test_words_equal_a_slow_loop() -> None:
    head, words = content(vocabulary=7, patch_dim=1), torch.randint(7, (2, 3, 1))
    prediction = torch.randn(2, 3, 7, dtype=torch.float64)
    loss = head.loss(prediction, words)
    for n in range(2):
        for t in range(3):
            assert float(loss[n, t]) == pytest.approx(nats(prediction[n, t], int(words[n, t])))
    assert head.loss(torch.zeros(2, 3, 7), words).tolist() == [[pytest.approx(math.log(7))] * 3] * 2
    assert torch.equal(head.values(prediction, words), prediction.argmax(2)[..., None])
    assert head.values(prediction, words).shape == words.shape


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_values_equal_a_slow_loop(patches: Tensor, normalise: bool, absolute: bool) -> None:
    head = content(normalise=normalise, absolute=absolute)
    prediction = torch.randn(2, 3, 4, dtype=torch.float64)
    loss = head.loss(prediction, patches)
    assert loss.shape == (2, 3)
    for n in range(2):
        for t in range(3):
            target = patches[n, t].tolist()
            if normalise:
                mean = sum(target) / 4
                deviation = math.sqrt(sum((x - mean) ** 2 for x in target) / 3 + 1e-6)  # of a sample: over P - 1
                target = [(x - mean) / deviation for x in target]
            off = [x - y for x, y in zip(prediction[n, t].tolist(), target, strict=True)]
            slow = sum(abs(x) if absolute else x**2 for x in off) / 4
            assert float(loss[n, t]) == pytest.approx(slow)


def test_levels_equal_a_slow_loop(patches: Tensor) -> None:
    head, prediction = content(levels=5), torch.randn(2, 3, 20, dtype=torch.float64)
    loss, values = head.loss(prediction, patches), head.values(prediction, patches)
    assert loss.shape == (2, 3) and values.shape == patches.shape
    for n in range(2):
        for t in range(3):
            slow = 0.0
            for p in range(4):
                scores = prediction[n, t, 5 * p : 5 * p + 5]
                slow += nats(scores, min(int((float(patches[n, t, p]) + 2) / 0.8), 4)) / 4
                mean = sum(math.exp(-nats(scores, level)) * (0.8 * level - 1.6) for level in range(5))
                assert float(values[n, t, p]) == pytest.approx(mean, abs=1e-6)
            assert float(loss[n, t]) == pytest.approx(slow)


def test_levels_known_by_hand() -> None:
    head = content(levels=4)
    values = torch.tensor([[[-2.0, -1.01, -1.0, -0.01, 0.0, 0.99, 1.0, 2.0, -5.0, 5.0]]])
    assert head.level(values).tolist() == [[[0, 0, 1, 1, 2, 2, 3, 3, 0, 3]]]
    sure = torch.tensor([[[99.0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 99]]], dtype=torch.float64)
    expected = torch.tensor([[[-1.5, 0.5, 0.0, 1.5]]], dtype=torch.float64)  # of the third nothing is known
    torch.testing.assert_close(head.values(sure, expected), expected)


def test_what_is_predicted_rightly_is_nowhere_off_and_comes_back(patches: Tensor) -> None:
    for normalise in (False, True):
        head = content(normalise=normalise)
        right = normalised(patches) if normalise else patches
        assert not head.loss(right, patches).any()
        torch.testing.assert_close(head.values(right, patches), patches)
    fine = content(levels=4000)
    right = torch.nn.functional.one_hot(fine.level(patches), 4000).double().flatten(2) * 99
    assert fine.loss(right, patches).max() < 1e-9
    assert (fine.values(right, patches) - patches).abs().max() < 4 / 4000


def test_normalised_patches_know_neither_brightness_nor_contrast(patches: Tensor) -> None:
    found = normalised(patches)
    torch.testing.assert_close(found.mean(2), torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(found.var(2), torch.ones(2, 3, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised(3 * patches - 1), found, atol=1e-4, rtol=0)
    assert normalised(torch.full((1, 1, 4), 0.7)).tolist() == [[[0.0] * 4]]


def test_settings_that_do_not_apply_change_nothing() -> None:
    head = content(vocabulary=7, patch_dim=1, levels=5, normalise=True, absolute=True)
    words, prediction = torch.randint(7, (2, 3, 1)), torch.randn(2, 3, 7, dtype=torch.float64)
    assert torch.equal(head.loss(prediction, words), content(vocabulary=7, patch_dim=1).loss(prediction, words))
    values, prediction = torch.rand(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 20, dtype=torch.float64)
    same = [content(levels=5, normalise=flag).loss(prediction, values) for flag in (False, True)]
    assert torch.equal(same[0], same[1])


@pytest.mark.parametrize("levels", [1, -3])
def test_levels_must_be_levels(levels: int) -> None:
    with pytest.raises(InputError, match=f"levels is {levels}: expected 2 or more, or 0 to predict values as they are"):
        content(levels=levels)


def test_one_number_has_no_variance() -> None:
    with pytest.raises(InputError, match="a token of one number has no variance to normalise: choose larger tokens"):
        content(patch_dim=1, normalise=True)
    assert content(patch_dim=1).loss(torch.ones(1, 1, 1), torch.zeros(1, 1, 1)).tolist() == [[1.0]]


def test_what_fills_a_row_up_is_not_asked_for() -> None:
    head = content(vocabulary=7, patch_dim=1)
    words, prediction = torch.randint(7, (3, 4, 1)), torch.randn(3, 4, 7, dtype=torch.float64)
    full = head.loss(prediction, words)
    torch.testing.assert_close(head.mean(prediction, words), full.mean(1))
    words[1, 2:], words[2] = PAD, PAD
    loss = head.loss(prediction, words)
    assert not loss[1, 2:].any() and not loss[2].any() and torch.equal(loss[0], full[0])
    torch.testing.assert_close(head.mean(prediction, words)[1], full[1, :2].mean())
    assert head.mean(prediction, words)[2] == 0
    values = torch.rand(2, 3, 4, dtype=torch.float64) - 5  # numbers may be below 0
    torch.testing.assert_close(
        content().mean(torch.zeros_like(values), values), content().loss(torch.zeros_like(values), values).mean(1)
    )
