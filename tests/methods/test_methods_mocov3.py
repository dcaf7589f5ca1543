"""MoCo v3 against loops, by hand, and how its slow copy follows."""

import math

import pytest
import torch
from support import build
from torch import Tensor

from twinlens.batch import Batch
from twinlens.methods.mocov3 import MoCoV3


def contrast(q: Tensor, k: Tensor, tau: float) -> float:
    """Equation 1, the keys of the other samples as negatives, times 2 tau."""

    def score(a: list[float], b: list[float]) -> float:
        lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / lengths / tau)

    rows = [[score(a, b) for b in k.tolist()] for a in q.tolist()]
    return 2 * tau * sum(-math.log(row[i] / sum(row)) for i, row in enumerate(rows)) / len(rows)


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_loss(tau: float) -> None:
    method = build(MoCoV3)
    method.temperature = tau
    q1, q2, k1, k2 = torch.randn(4, 6, 5, dtype=torch.float64)
    assert float(method.compare(q1, q2, k1, k2)) == pytest.approx(contrast(q1, k2, tau) + contrast(q2, k1, tau))


def test_known_by_hand() -> None:
    compare = build(MoCoV3).compare
    same = torch.ones(7, 5, dtype=torch.float64)
    assert float(compare(same, same, same, same)) == pytest.approx(2 * 0.2 * 2 * math.log(7))
    axes = torch.eye(5, dtype=torch.float64)
    assert float(compare(axes, axes, axes, axes)) == pytest.approx(0.8 * math.log(1 + 4 * math.exp(-5)))


def test_aligned_is_less_than_random_is_less_than_opposite() -> None:
    compare, (q1, q2, k1, k2) = build(MoCoV3).compare, torch.randn(4, 32, 8)
    assert compare(q1, q2, q2, q1) < compare(q1, q2, k1, k2) < compare(q1, q2, -q2, -q1)


def test_views_may_change_places_and_lengths_do_not_count() -> None:
    compare, (q1, q2, k1, k2) = build(MoCoV3).compare, torch.randn(4, 6, 5)
    torch.testing.assert_close(compare(q1, q2, k1, k2), compare(q2, q1, k2, k1))
    torch.testing.assert_close(compare(q1, q2, k1, k2), compare(2 * q1, q2 / 3, 4 * k1, k2))


def test_keys_are_the_slow_copys_projections_and_take_no_gradient() -> None:
    method, views = build(MoCoV3), torch.randn(2, 6, 3, 8, 8)
    q1, q2, k1, k2 = method.encode(Batch(tuple(views), torch.arange(6), torch.arange(6)))
    torch.testing.assert_close(k1, method.key(views[0]))
    torch.testing.assert_close(q2, method.predict(method.query(views[1])))
    assert not k1.requires_grad and not k2.requires_grad
    method.compare(q1, q2, k1, k2).backward()
    assert all(parameter.grad is None for parameter in method.key.parameters())


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.99), (0.5, 0.995), (1.0, 1.0)])
def test_the_momentum_rises_to_1(progress: float, momentum: float) -> None:
    method = build(MoCoV3)
    with torch.no_grad():
        for parameter in method.query.parameters():
            parameter.add_(1.0)
    before = [parameter.clone() for parameter in method.key.parameters()]
    method.update(progress)
    for old, new, query in zip(before, method.key.parameters(), method.query.parameters(), strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * query)


def test_both_heads_end_in_a_norm() -> None:
    method = build(MoCoV3)
    outputs = method.encode(Batch(tuple(torch.randn(2, 32, 3, 8, 8)), torch.arange(32), torch.arange(32)))
    for part in outputs:
        torch.testing.assert_close(part.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
