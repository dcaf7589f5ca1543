"""Sentence-BERT and CoSENT against loops, by hand, against sentence-transformers, and what labels may be."""

import math
from typing import Any

import pytest
import torch
from support import build, feed
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch
from twinlens.errors import InputError
from twinlens.methods.cosent import CoSENT
from twinlens.methods.sbert import SBERT


class Given(nn.Module):
    """The view is the embedding."""

    dim = 4

    def forward(self, view: Tensor) -> Tensor:
        return view


def sbert(**settings: Any) -> SBERT:
    torch.manual_seed(0)
    return SBERT(Given(), **{"classes": 3, **settings}).double()


def pairs(u: Tensor, v: Tensor, target: Tensor) -> Batch:
    index = torch.arange(len(u))
    return Batch((u, v), index, random.keys(0, 0, index), target)


def cosine(x: list[float], y: list[float]) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)


def test_classes_equal_a_slow_loop() -> None:
    u, v = torch.randn(2, 5, 4, dtype=torch.float64)
    model, target = sbert(), torch.tensor([0, 1, 2, 1, 0])
    assert model.W is not None
    losses = []
    for x, y, answer in zip(u.tolist(), v.tolist(), target.tolist(), strict=True):
        both = [*x, *y, *(abs(a - b) for a, b in zip(x, y, strict=True))]
        scores = [sum(w * f for w, f in zip(row, both, strict=True)) for row in model.W.weight.tolist()]
        losses.append(math.log(sum(map(math.exp, scores))) - scores[answer])
    (found,) = model.encode(pairs(u, v, target))
    assert found.tolist() == pytest.approx(losses)
    assert model.compare(found).item() == pytest.approx(sum(losses) / 5)
    torch.testing.assert_close(model.encode(pairs(u, v, target.double()))[0], found)  # classes that came as floats


def test_who_says_nothing_is_at_chance() -> None:
    model = sbert(classes=5)
    assert model.W is not None
    nn.init.zeros_(model.W.weight)
    (found,) = model.encode(pairs(*torch.randn(2, 6, 4, dtype=torch.float64), torch.arange(6) % 5))
    assert found.tolist() == pytest.approx([math.log(5)] * 6)


def test_scores_equal_a_slow_loop_and_are_known_by_hand() -> None:
    u, v = torch.randn(2, 5, 4, dtype=torch.float64)
    model, target = sbert(objective="regression"), torch.tensor([0.0, 5.0, 2.5, 1.0, 4.2], dtype=torch.float64)
    by_loop = [(cosine(*pair) - y / 5) ** 2 for *pair, y in zip(u.tolist(), v.tolist(), target.tolist(), strict=True)]
    (found,) = model.encode(pairs(u, v, target))
    assert found.tolist() == pytest.approx(by_loop)
    torch.testing.assert_close(model.encode(pairs(3 * v, u / 7, target))[0], found)
    five = torch.full((5,), 5)
    losses = [model.compare(*model.encode(pairs(u, other, five))).item() for other in (u, v, -u)]
    assert losses[0] == pytest.approx(0) and losses[2] == pytest.approx(4) and losses[0] < losses[1] < losses[2]
    assert model.W is None


def test_what_cannot_be_is_said() -> None:
    u, v = torch.randn(2, 2, 4, dtype=torch.float64)
    for wrong in ([0, 3], [-1, 0], [0.5, 1.0]):
        with pytest.raises(InputError, match=r"labels from .*: expected classes from 0 to 2; set --classes"):
            sbert().encode(pairs(u, v, torch.tensor(wrong)))
    for wrong in ([0.0, 5.1], [-0.1, 0.0]):
        with pytest.raises(InputError, match=r"scores from .*: expected 0 to 5\.0; set --largest"):
            sbert(objective="regression").encode(pairs(u, v, torch.tensor(wrong)))
    with pytest.raises(InputError, match="objective is 'ranking': expected classification or regression"):
        sbert(objective="ranking")
    with pytest.raises(InputError, match="classes is 0: expected 2 or more; where pairs have scores"):
        sbert(classes=0)
    with pytest.raises(InputError, match=r"largest is 0\.0: expected a number above 0"):
        sbert(largest=0.0)
    with pytest.raises(InputError, match="temperature is 0: expected a number above 0"):
        CoSENT(Given(), temperature=0)


def test_the_labels_are_those_of_the_batch() -> None:
    model = build(SBERT)
    batch = next(feed(model).run(0, 1))[0]()
    assert batch.target is not None
    turned = model.encode(batch._replace(target=batch.target.roll(1)))[0]
    assert not torch.equal(turned, model.encode(batch)[0])


def ranked(u: Tensor, v: Tensor, target: Tensor) -> float:
    return float(CoSENT(Given()).compare(u, v, target))


def test_cosent_equals_a_slow_loop_and_sentence_transformers() -> None:
    u, v = torch.randn(2, 7, 4, dtype=torch.float64)
    target = torch.tensor([0.0, 1.0, 0.5, 1.0, 0.25, 0.0, 0.9])  # with ties
    cosines = [cosine(*pair) for pair in zip(u.tolist(), v.tolist(), strict=True)]
    wrong = sum(
        math.exp(20 * (cosines[j] - cosines[i])) for i in range(7) for j in range(7) if target[i] > target[j]
    )  # fmt: skip
    assert ranked(u, v, target) == pytest.approx(math.log1p(wrong))
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    theirs = losses.CoSENTLoss(nn.Identity()).compute_loss_from_embeddings([u, v], target)
    assert ranked(u, v, target) == pytest.approx(float(theirs), rel=1e-6)


def test_cosent_known_by_hand() -> None:
    u, v = torch.eye(4, dtype=torch.float64)[:2], torch.eye(4, dtype=torch.float64)[[0, 2]]  # cosines 1 and 0
    assert ranked(u, v, torch.tensor([1, 0])) == pytest.approx(math.log1p(math.exp(-20)))
    assert ranked(u, v, torch.tensor([0, 1])) == pytest.approx(math.log1p(math.exp(20)))
    assert ranked(u, v, torch.tensor([1, 1])) == 0


def test_cosent_knows_the_order_alone() -> None:
    u, v = torch.randn(2, 16, 4, dtype=torch.float64)
    cosines = torch.cosine_similarity(u, v)
    assert ranked(u, v, cosines.exp()) == pytest.approx(ranked(2 * u, v, 5 * cosines))
    assert ranked(u, v, cosines) < ranked(u, v, torch.randn(16)) < ranked(u, v, -cosines)
