"""SimCLR and its decoupled form against loops and by hand."""

import math

import pytest
import torch
from support import build
from torch import Tensor

from twinlens import discover
from twinlens.methods.simclr import SimCLR


def method(decoupled: bool) -> SimCLR:
    return SimCLR(build(SimCLR).encoder, hidden=16, dim=16, decoupled=decoupled)  # type: ignore[arg-type]


def loss_by_loops(z1: Tensor, z2: Tensor, tau: float, decoupled: bool) -> float:
    """Equation 1 of 2002.05709, or equation 5 of 2110.06848."""
    z, n = [*z1.tolist(), *z2.tolist()], len(z1)

    def score(i: int, j: int) -> float:
        lengths = math.prod(math.sqrt(sum(x * x for x in z[k])) for k in (i, j))
        return math.exp(sum(x * y for x, y in zip(z[i], z[j], strict=True)) / lengths / tau)

    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [j for j in range(2 * n) if j != i and not (decoupled and j == partner)]
        total -= math.log(score(i, partner) / sum(score(i, j) for j in others))
    return total / (2 * n)


@pytest.mark.parametrize("decoupled", [False, True])
def test_loss(decoupled: bool) -> None:
    z1, z2 = torch.randn(2, 5, 4, dtype=torch.float64)
    assert float(method(decoupled).compare(z1, z2)) == pytest.approx(loss_by_loops(z1, z2, 0.1, decoupled))


def test_known_by_hand() -> None:
    same, axes = torch.ones(3, 3), torch.eye(3)
    assert float(method(False).compare(same, same)) == pytest.approx(math.log(5))
    assert float(method(True).compare(same, same)) == pytest.approx(math.log(4))
    assert float(method(True).compare(axes, axes)) == pytest.approx(math.log(4) - 10)


@pytest.mark.parametrize("decoupled", [False, True])
def test_aligned_is_less_than_random_is_less_than_opposite(decoupled: bool) -> None:
    compare, (z1, z2) = method(decoupled).compare, torch.randn(2, 32, 8)
    assert compare(z1, z1) < compare(z1, z2) < compare(z1, -z1)


def test_the_plain_loss_is_the_default() -> None:
    assert discover.settings(SimCLR)["decoupled"] is False
