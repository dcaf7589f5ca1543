"""Multiple negatives ranking against loops, against sentence-transformers, by hand, and who is no negative."""

import math
from typing import Any

import pytest
import torch
from support import build, feed
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch
from twinlens.errors import InputError
from twinlens.methods.ranking import Ranking


class Table(nn.Module):
    """A text's embedding is the sum of its words', whatever its length."""

    dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)

    def forward(self, view: Tensor) -> Tensor:
        return self.words(view).sum(dim=1)


def method(**settings: Any) -> Ranking:
    torch.manual_seed(0)
    return Ranking(Table(), **settings).double()


def distinct(z: Tensor) -> Tensor:
    return torch.arange(z.shape[0] * (z.shape[1] - 1)).view(len(z), -1)


def cosine(x: list[float], y: list[float]) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)


def by_loops(z: Tensor, ids: list[list[int]], *, tau: float = 0.05, bound: float = 2, symmetric: bool = False) -> float:
    """Equation 5 of 2104.08821, an anchor at a time."""
    texts, n = z.tolist(), len(z)
    total = 0.0
    for i in range(n):
        own = cosine(texts[i][0], texts[i][1])
        rivals = [
            cosine(texts[i][0], texts[j][v])
            for j in range(n)
            for v in range(1, len(texts[j]))
            if ids[j][v - 1] != ids[i][0]
        ]
        below = sum(math.exp(s / tau) for s in rivals if s <= bound)
        loss = -math.log(math.exp(own / tau) / (math.exp(own / tau) + below))
        if symmetric:
            others = [cosine(texts[i][1], texts[j][0]) for j in range(n) if ids[j][0] != ids[i][0]]
            back = sum(math.exp(s / tau) for s in others if s <= bound)
            loss = (loss - math.log(math.exp(own / tau) / (math.exp(own / tau) + back))) / 2
        total += loss
    return total / n


@pytest.mark.parametrize("settings", [{}, {"symmetric": True}, {"bound": 0.3}, {"bound": 0.3, "symmetric": True}])
@pytest.mark.parametrize("views", [2, 3, 4])
def test_loss(views: int, settings: dict[str, Any]) -> None:
    z = torch.randn(5, views, 6, dtype=torch.float64)
    ids = distinct(z)
    ids[3, -1] = ids[0, 0]  # what the third has last is the positive of the first
    found = method(**settings).compare(z, ids)
    assert float(found) == pytest.approx(by_loops(z, ids.tolist(), **settings))


@pytest.mark.parametrize("views", [2, 3, 4])
def test_it_is_that_of_sentence_transformers(views: int) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    z = torch.randn(7, views, 6, dtype=torch.float64)
    theirs = losses.MultipleNegativesRankingLoss(nn.Identity()).compute_loss_from_embeddings([*z.unbind(1)], None)
    assert float(method().compare(z, distinct(z))) == pytest.approx(float(theirs), rel=1e-6)
    if views == 2:
        both = losses.MultipleNegativesRankingLoss(
            nn.Identity(), directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
        ).compute_loss_from_embeddings([*z.unbind(1)], None)
        assert float(method(symmetric=True).compare(z, distinct(z))) == pytest.approx(float(both), rel=1e-6)


def test_known_by_hand() -> None:
    same = torch.ones(4, 3, 6, dtype=torch.float64)
    assert float(method().compare(same, distinct(same))) == pytest.approx(math.log(8))
    axes = torch.eye(3, dtype=torch.float64)
    z = torch.stack((axes, axes), dim=1)
    assert float(method(temperature=0.5).compare(z, distinct(z))) == pytest.approx(math.log1p(2 * math.exp(-2)))


def test_aligned_is_less_than_random_is_less_than_opposite() -> None:
    a, b = torch.randn(2, 32, 6, dtype=torch.float64)
    losses = [method().compare(z, distinct(z)) for z in (torch.stack((a, other), dim=1) for other in (a, b, -a))]
    assert losses[0] < losses[1] < losses[2]


def test_order_and_lengths_do_not_count() -> None:
    z, order = torch.randn(8, 3, 6, dtype=torch.float64), torch.randperm(8)
    loss = method().compare(z, distinct(z))
    torch.testing.assert_close(method().compare(z[order], distinct(z)[order]), loss)
    torch.testing.assert_close(method().compare(z * torch.rand(8, 3, 1) * 9, distinct(z)), loss)


def test_the_same_words_are_no_negative() -> None:
    anchors = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    positives, negatives = torch.tensor([[1, 2], [3, 4], [1, 2]]), torch.tensor([[5, 6], [1, 2], [7, 8]])
    some = method()
    z, ids = some.encode(Batch((anchors, positives, negatives), torch.arange(3), random.keys(0, 0, torch.arange(3))))
    z = z.detach()
    assert z.shape == (3, 3, 6) and ids.shape == (3, 2)
    assert ids[0, 0] == ids[2, 0] == ids[1, 1] and len(ids.unique()) == 4
    assert float(some.compare(z, ids)) == pytest.approx(by_loops(z, ids.tolist()))
    torch.testing.assert_close(z[:, 1], some.encoder(positives))


def test_without_pairs_it_is_simcse() -> None:
    one = build(Ranking)
    batch = next(feed(one).run(0, 1))[0]()
    z, ids = (part.detach() for part in one.encode(batch))
    assert torch.equal(ids[:, 0], batch.index) and z.shape[1] == 2
    assert float(one.compare(z, ids)) == pytest.approx(by_loops(z.double(), ids.tolist()), rel=1e-4)


def test_a_temperature_is_above_nothing() -> None:
    with pytest.raises(InputError, match=r"temperature is 0: expected a number above 0"):
        method(temperature=0)
