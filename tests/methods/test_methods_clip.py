"""CLIP, SigLIP and LiT against loops, by hand, and what the same caption twice means."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from twinlens import random
from twinlens.batch import PAD, Batch
from twinlens.encoders.sequence import words
from twinlens.encoders.towers import Towers
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.methods.clip import CLIP


def towers() -> Towers:
    torch.manual_seed(0)
    return Towers(vit(3, 8, patch=2, width=8, depth=1, heads=2), words(9, 5, width=8, depth=1, heads=2), shared=6)


def method(**settings: Any) -> CLIP:
    return CLIP(towers(), **settings).double()


def given(texts: Tensor | None = None) -> Batch:
    draw = torch.Generator().manual_seed(1)
    pictures = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=draw)
    texts = torch.randint(9, (4, 5), generator=draw) if texts is None else texts
    return Batch((pictures, texts), torch.arange(4), random.keys(0, 0, torch.arange(4)))


def cosines(a: Tensor, b: Tensor) -> list[list[float]]:
    def cosine(x: list[float], y: list[float]) -> float:
        return sum(i * j for i, j in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)

    return [[cosine(x, y) for y in b.tolist()] for x in a.tolist()]


def by_loops(a: Tensor, b: Tensor, ids: list[int], loss: str) -> float:
    """Figure 3 of 2103.00020, or algorithm 1 of 2303.15343, a pair at a time."""
    s, n = cosines(a, b), len(ids)
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if ids[j] != ids[i]]
        if loss == "sigmoid":
            total += math.log1p(math.exp(-(s[i][i] * 10 - 10)))
            total += sum(math.log1p(math.exp(s[i][j] * 10 - 10)) for j in others)
        else:
            own = math.exp(s[i][i] / 0.07)
            total -= math.log(own / (own + sum(math.exp(s[i][j] / 0.07) for j in others))) / 2
            total -= math.log(own / (own + sum(math.exp(s[j][i] / 0.07) for j in others))) / 2
    return total / n


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4, 5], [0, 1, 0, 2, 1, 0]])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_loss(loss: str, ids: list[int]) -> None:
    a, b = torch.randn(2, 6, 5, dtype=torch.float64)
    found = method(loss=loss).compare(a, b, torch.tensor(ids))
    assert found.item() == pytest.approx(by_loops(a, b, ids, loss), rel=1e-6)  # its log scale is made in float32


def test_known_by_hand() -> None:
    axes, same, ids = torch.eye(3, dtype=torch.float64), torch.ones(3, 3, dtype=torch.float64), torch.arange(3)
    assert method().compare(same, same, ids).item() == pytest.approx(math.log(3))
    assert method(temperature=0.5).compare(axes, axes, ids).item() == pytest.approx(math.log1p(2 * math.exp(-2)))
    # cosine 1: the logit 10 - 10 is 0; cosine 0: -10
    expected = math.log(2) + 2 * math.log1p(math.exp(-10))
    assert method(loss="sigmoid").compare(axes, axes, ids).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_aligned_is_less_than_random_is_less_than_opposite(loss: str) -> None:
    a, b = torch.randn(2, 32, 8, dtype=torch.float64)
    compare, ids = method(loss=loss).compare, torch.arange(32)
    assert compare(a, a, ids) < compare(a, b, ids) < compare(a, -a, ids)
    torch.testing.assert_close(compare(3 * a, b / 2, ids), compare(b, a, ids))


def test_the_temperature_is_learnt_and_capped() -> None:
    softmax, sigmoid = method(), method(loss="sigmoid")
    assert softmax.temperature().item() == pytest.approx(0.07) and softmax.bias is None
    assert sigmoid.temperature().item() == pytest.approx(0.1) and sigmoid.bias.item() == -10
    with torch.no_grad():
        softmax.temperature.log_scale.fill_(9.0)
        sigmoid.temperature.log_scale.fill_(9.0)
    assert softmax.temperature().item() == pytest.approx(0.01)
    assert sigmoid.temperature().item() == pytest.approx(math.exp(-9))
    softmax.compare(*softmax.encode(given())).backward()
    assert softmax.temperature.log_scale.grad is not None


def test_the_same_caption_is_no_negative_however_far_it_is_filled_up() -> None:
    texts = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 2, 3, 4, 5], [2, 1, 3, 4, 5]])
    ids = method().encode(given(texts))[2]
    assert ids[0] == ids[2] and len(ids.unique()) == 3
    pictures = given().views[0]
    one = CLIP(vit(3, 8, patch=2, width=8, depth=1, heads=2)).double()
    assert torch.equal(one.encode(given()._replace(views=(pictures, pictures)))[2], torch.arange(4))


def test_two_texts_need_one_encoder() -> None:
    torch.manual_seed(0)
    one = CLIP(words(9, 5, width=8, depth=1, heads=2, dropout=0.0)).double()
    questions, answers = torch.randint(9, (2, 4, 5))
    a, b, _ = one.encode(given()._replace(views=(questions, answers)))
    torch.testing.assert_close((a, b), (one.encoder(questions), one.encoder(answers)))


@pytest.mark.parametrize("lock", ["image", "text"])
def test_a_locked_tower_stands_still_and_the_rest_learns(lock: str) -> None:
    locked = method(lock=lock)
    locked.compare(*locked.encode(given())).backward()
    for name, parameter in locked.named_parameters():
        still = name.startswith(f"encoder.{lock}.") or name.endswith("word_weights")
        assert parameter.requires_grad != still and (parameter.grad is None) == still, name
    for mode in (True, False, True):
        locked.train(mode)
        assert not any(part.training for part in getattr(locked.encoder, lock).modules())
        assert locked.encoder.training == locked.training == mode


def test_what_cannot_be_is_said() -> None:
    for settings in ({"loss": "hinge"}, {"lock": "sound"}):
        with pytest.raises(InputError, match="expected softmax or sigmoid, and image, text or ''"):
            method(**settings)
    with pytest.raises(InputError, match="lock is 'image', but Tokens has no towers: leave lock empty"):
        CLIP(vit(3, 8, patch=2, width=8, depth=1, heads=2), lock="image")
    with pytest.raises(InputError, match=r"temperature is 0\.001: expected 0\.01 or more"):
        method(temperature=0.001)


def test_filled_up_captions_count_as_what_they_are() -> None:
    texts = torch.tensor([[1, 2, PAD, PAD, PAD], [1, 2, 3, PAD, PAD], [1, 2, PAD, PAD, PAD], [4, PAD, PAD, PAD, PAD]])
    ids = method().encode(given(texts))[2]
    assert ids[0] == ids[2] and len(ids.unique()) == 3
