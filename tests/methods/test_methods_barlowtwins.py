"""Barlow Twins against numpy's correlations, against loops and by hand."""

import math

import numpy as np
import pytest
import torch
from support import build
from torch import Tensor

from twinlens.methods.barlowtwins import BarlowTwins, cross_correlation


def draw(*shape: int) -> Tensor:
    z = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return 10 * z  # variances next to which batch norm's 1e-5 is nothing


def loss_by_loops(z1: Tensor, z2: Tensor, weight: float) -> float:
    """Equations 1 and 2 over numbers."""
    n, d = z1.shape

    def column(z: Tensor, i: int) -> list[float]:
        values = z[:, i].tolist()
        mean = sum(values) / n
        return [value - mean for value in values]

    total = 0.0
    for i in range(d):
        for j in range(d):
            a, b = column(z1, i), column(z2, j)
            c = sum(x * y for x, y in zip(a, b, strict=True))
            c /= math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


def test_cross_correlation_is_numpys_between_the_views() -> None:
    z1, z2 = draw(2, 9, 4)
    expected = np.corrcoef(z1.numpy(), z2.numpy(), rowvar=False)[:4, 4:]
    torch.testing.assert_close(cross_correlation(z1, z2), torch.from_numpy(expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(cross_correlation(z2, z1), torch.from_numpy(expected.T), atol=1e-6, rtol=0)


@pytest.mark.parametrize("weight", [5e-3, 0.3])
def test_loss(weight: float) -> None:
    method, (z1, z2) = build(BarlowTwins), draw(2, 7, 4)
    method.redundancy = weight
    assert float(method.compare(z1, z2)) == pytest.approx(loss_by_loops(z1, z2, weight), rel=1e-6)


def test_known_by_hand() -> None:
    compare = build(BarlowTwins).compare
    square = 100 * torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)  # uncorrelated dimensions
    assert float(compare(square, square)) == pytest.approx(0, abs=1e-8)
    assert float(compare(square, -square)) == pytest.approx(2 * 2**2)
    line = 100 * torch.tensor([[1, 1], [-1, -1]], dtype=torch.float64)  # two dimensions that say the same
    assert float(compare(line, line)) == pytest.approx(5e-3 * 2)
    assert float(compare(square, square.flip(1))) == pytest.approx(2 + 5e-3 * 2)  # each says what the other should


def test_shift_and_scale_of_a_dimension_and_order_of_samples_do_not_count() -> None:
    compare, (z1, z2) = build(BarlowTwins).compare, draw(2, 7, 4)
    before = compare(z1, z2)
    scale, shift = torch.tensor([1.0, 2, 3, 0.5]).double(), torch.tensor([0.0, -1, 50, 7]).double()
    torch.testing.assert_close(compare(z1 * scale + shift, z2 / scale), before, rtol=1e-5, atol=0)
    order = torch.randperm(7)
    torch.testing.assert_close(compare(z1[order], z2[order]), before)
    torch.testing.assert_close(compare(z2, z1), before)


def test_aligned_is_less_than_random_is_less_than_opposite() -> None:
    compare, (z1, z2) = build(BarlowTwins).compare, draw(2, 64, 8)
    assert compare(z1, z1) < compare(z1, z2) < compare(z1, -z1)


def test_a_dimension_that_says_nothing_has_a_finite_gradient() -> None:
    z1, z2 = draw(2, 7, 4)
    z1[:, 0] = 3
    z1.requires_grad_()
    loss = build(BarlowTwins).compare(z1, z2)
    loss.backward()
    assert z1.grad is not None and z1.grad.isfinite().all()
    assert float(loss.detach()) >= 1  # it correlates with nothing: (1 - 0)^2
