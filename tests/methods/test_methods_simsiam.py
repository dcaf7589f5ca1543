"""SimSiam against loops, by hand, and where its gradient stops."""

import math

import pytest
import torch
from support import build
from torch import Tensor

from twinlens.batch import Batch
from twinlens.methods.simsiam import SimSiam


def negative_cosine(p: Tensor, z: Tensor) -> float:
    """Equation 1, row by row, over numbers."""
    total = 0.0
    for a, b in zip(p.tolist(), z.tolist(), strict=True):
        lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        total -= sum(x * y for x, y in zip(a, b, strict=True)) / lengths
    return total / len(p)


def test_loss_is_the_mean_negative_cosine_across_views() -> None:
    p1, p2, z1, z2 = torch.randn(4, 6, 5, dtype=torch.float64)
    expected = (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2
    assert float(build(SimSiam).compare(p1, p2, z1, z2)) == pytest.approx(expected)


def test_known_by_hand() -> None:
    p = torch.tensor([[2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    turned = torch.tensor([[5.0, 5.0], [0.0, 1.0]], dtype=torch.float64)  # 45 and 0 degrees away
    compare = build(SimSiam).compare
    assert float(compare(p, p, p, p)) == pytest.approx(-1)
    assert float(compare(p, p, p, -p)) == pytest.approx(0)
    assert float(compare(p, p, turned, turned)) == pytest.approx(-(math.sqrt(0.5) + 1) / 2)


def test_aligned_is_less_than_random_is_less_than_opposite() -> None:
    compare, (p1, p2, z1, z2) = build(SimSiam).compare, torch.randn(4, 32, 8)
    assert compare(p1, p2, p2, p1) < compare(p1, p2, z1, z2) < compare(p1, p2, -p2, -p1)


def test_views_may_change_places_and_lengths_do_not_count() -> None:
    compare, (p1, p2, z1, z2) = build(SimSiam).compare, torch.randn(4, 6, 5)
    torch.testing.assert_close(compare(p1, p2, z1, z2), compare(p2, p1, z2, z1))
    torch.testing.assert_close(compare(p1, p2, z1, z2), compare(2 * p1, p2 / 3, 4 * z1, z2))


def test_the_gradient_stops_at_the_targets() -> None:
    parts = [torch.randn(6, 5, requires_grad=True) for _ in range(4)]
    build(SimSiam).compare(*parts).backward()
    assert [part.grad is not None for part in parts] == [True, True, False, False]


def test_a_prediction_is_of_its_own_view_and_projections_are_normalised() -> None:
    method = build(SimSiam)
    p1, p2, z1, z2 = method.encode(Batch(tuple(torch.randn(2, 32, 3, 8, 8)), torch.arange(32), torch.arange(32)))
    torch.testing.assert_close(method.h(z1), p1)
    torch.testing.assert_close(method.h(z2), p2)
    for z in (z1, z2):
        torch.testing.assert_close(z.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
