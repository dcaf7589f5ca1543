"""Siamese networks: both losses against loops, by hand, and which views count as alike."""

import math
from typing import Any

import pytest
import torch
from support import build, feed

from twinlens import discover, distributed
from twinlens.errors import InputError
from twinlens.gradients import gradients
from twinlens.methods.siamese import Siamese

Rows = list[list[float]]


def method(**settings: Any) -> Siamese:
    return Siamese(build(Siamese).encoder, hidden=16, dim=16, **settings)  # type: ignore[arg-type]


def far(a: list[float], b: list[float], distance: str) -> float:
    if distance == "euclidean":
        return math.dist(a, b)
    return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def pairs_by_loops(z1: Rows, z2: Rows, negatives: int, m: float, distance: str) -> float:
    """Equation 4 of Hadsell et al. over each sample's own pair and those with the samples after it."""
    n, total = len(z1), 0.0
    for i in range(n):
        total += far(z1[i], z2[i], distance) ** 2 / 2
        for k in range(1, negatives + 1):
            total += max(0.0, m - far(z1[i], z2[(i + k) % n], distance)) ** 2 / 2
    return total / (n + n * negatives)


def triplets_by_loops(z1: Rows, z2: Rows, m: float, mining: str, distance: str) -> float:
    """For each view, its partner and the negatives that the mining takes."""
    z, n = z1 + z2, len(z1)
    losses = []
    for a in range(2 * n):
        near = far(z[a], z[(a + n) % (2 * n)], distance)  # the only positive, so the farthest as well
        others = [far(z[a], z[k], distance) for k in range(2 * n) if k % n != a % n]
        if mining == "hard":
            others = [min(others)]
        elif mining == "semi-hard":
            others = [min((d for d in others if d > near), default=max(others))]
        losses += [max(0.0, near - d + m) for d in others]
    if mining == "active":
        losses = [loss for loss in losses if loss > 0]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("negatives", [1, 3])
def test_pairs(negatives: int, distance: str) -> None:
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64)
    model = method(loss="margin", negatives=negatives, margin=1.3, distance=distance)
    expected = pairs_by_loops(z1.tolist(), z2.tolist(), negatives, 1.3, distance)
    assert float(model.compare(z1, z2, torch.arange(6))) == pytest.approx(expected)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("mining", ["semi-hard", "hard", "all", "active"])
def test_triplets(mining: str, distance: str) -> None:
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64)
    model = method(mining=mining, margin=0.4, distance=distance)
    expected = triplets_by_loops(z1.tolist(), z2.tolist(), 0.4, mining, distance)
    assert float(model.compare(z1, z2, torch.arange(6))) == pytest.approx(expected)


def test_known_by_hand() -> None:
    axes, same, index = torch.eye(3), torch.ones(3, 3), torch.arange(3)
    # with views that go astray each partner is at 1, of four negatives one is at 0 and none beyond 1
    for mining, astray in {"semi-hard": 0.1, "hard": 1.1, "all": (1.1 + 3 * 0.1) / 4}.items():
        compare = method(mining=mining).compare
        assert float(compare(axes, axes, index)) == 0  # partners at 0, all others at 1
        assert float(compare(same, same, index)) == pytest.approx(0.1)  # a collapse costs the margin
        assert float(compare(axes, axes.roll(1, 0), index)) == pytest.approx(astray)
    pairs = method(loss="margin", negatives=1)
    assert float(pairs.compare(axes, axes, index)) == 0
    assert float(pairs.compare(same, same, index)) == pytest.approx(0.5**2 / 2 / 2)
    # each first view has its own second view at 1, and one of another sample at 0
    assert float(pairs.compare(axes, axes.roll(1, 0), index)) == pytest.approx((1 / 2 + 0.5**2 / 2) / 2)


def test_the_default_is_half_of_facenets_loss() -> None:
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64)
    units = torch.cat((z1, z2)) / torch.cat((z1, z2)).norm(dim=1, keepdim=True)
    total = 0.0
    for a in range(12):
        squares = (units - units[a]).square().sum(1).tolist()
        near = squares[(a + 6) % 12]
        others = [d for k, d in enumerate(squares) if k % 6 != a % 6]
        total += max(0.0, near - min((d for d in others if d > near), default=max(others)) + 0.2)
    assert float(method().compare(z1, z2, torch.arange(6))) == pytest.approx(total / 12 / 2)


@pytest.mark.parametrize("loss", ["triplet", "margin"])
def test_aligned_is_less_than_random(loss: str) -> None:
    compare, (z1, z2), index = method(loss=loss).compare, torch.randn(2, 32, 8), torch.arange(32)
    assert compare(z1, z1, index) < compare(z1, z2, index)


@pytest.mark.parametrize("mining", ["semi-hard", "hard", "all", "active"])
def test_triplets_have_no_order_and_views_may_change_places(mining: str) -> None:
    compare, (z1, z2), index = method(mining=mining).compare, torch.randn(2, 8, 5, dtype=torch.float64), torch.arange(8)
    loss, order = compare(z1, z2, index), torch.randperm(8)
    torch.testing.assert_close(compare(z1[order], z2[order], index[order]), loss)
    torch.testing.assert_close(compare(z2, z1, index), loss)
    torch.testing.assert_close(compare(3 * z1, z2 / 2, 100 - index), loss)


def test_pairs_go_round_and_all_of_them_have_no_order() -> None:
    (z1, z2), index, order = torch.randn(2, 8, 5, dtype=torch.float64), torch.arange(8), torch.randperm(8)
    some, every = method(loss="margin", negatives=2).compare, method(loss="margin", negatives=7).compare
    torch.testing.assert_close(some(z1.roll(3, 0), z2.roll(3, 0), index.roll(3)), some(z1, z2, index))
    torch.testing.assert_close(every(z1[order], z2[order], index[order]), every(z1, z2, index))
    assert not torch.isclose(some(z1, z2, index), every(z1, z2, index))


def test_a_sample_that_comes_twice_is_no_stranger_to_itself() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    once, twice = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 2])
    for settings in ({"mining": "hard"}, {"mining": "all"}, {"loss": "margin", "negatives": 2}):
        compare = method(**settings).compare
        assert compare(z, z, once) > 0 and compare(z, z, twice) == 0, settings


def test_pairs_keep_the_batch_guarantee() -> None:
    """The contract's own test sees the default, triplets."""
    fabric, found = distributed.launch(1, "64-true"), []
    for parts in (1, 5):
        torch.manual_seed(0)
        model = method(loss="margin", negatives=2, distance="euclidean", margin=5.0)
        model.project[1].eval()  # no batch statistics
        data = feed(Siamese, micro_batches=parts)
        (chunks,) = data.run(0, 1)
        gradients(fabric, fabric.setup_module(model), chunks, data.batch)
        found.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_unknown_names_are_refused() -> None:
    z = torch.randn(4, 3)
    with pytest.raises(InputError, match="loss is 'pair': expected one of triplet, margin"):
        method(loss="pair")
    with pytest.raises(InputError, match="mining is 'soft'"):
        method(mining="soft").compare(z, z, torch.arange(4))


def test_each_loss_has_a_margin_of_its_own_by_default() -> None:
    assert discover.settings(Siamese)["margin"] is None
    assert [method(loss=loss).margin for loss in ("triplet", "margin")] == [0.1, 0.5]
    assert [method(loss=loss, margin=0.3).margin for loss in ("triplet", "margin")] == [0.3, 0.3]
