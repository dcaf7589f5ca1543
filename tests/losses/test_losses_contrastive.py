"""NT-Xent against plain loops, by hand, and by what must not change it."""

import math

import pytest
import torch
from torch import Tensor

from twinlens.losses import nt_xent


def loops(z1: Tensor, z2: Tensor, temperature: float) -> float:
    """Equation 1 of the paper, a term at a time."""
    z = [row / row.norm() for row in torch.cat((z1, z2)).double()]
    n, total = len(z1), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        rivals = sum(math.exp(float(z[i] @ z[k]) / temperature) for k in range(2 * n) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[j]) / temperature) / rivals)
    return total / (2 * n)


@pytest.mark.parametrize(("n", "d", "temperature"), [(2, 3, 0.5), (5, 4, 0.1), (9, 16, 1.0)])
def test_equals_the_definition(n: int, d: int, temperature: float) -> None:
    z1, z2 = torch.randn(2, n, d, dtype=torch.float64)
    assert float(nt_xent(z1, z2, temperature=temperature)) == pytest.approx(loops(z1, z2, temperature), rel=1e-12)


def test_known_by_hand() -> None:
    z = torch.eye(2, dtype=torch.float64)  # partner at similarity 1, two others at 0
    assert float(nt_xent(z, z, temperature=1.0)) == pytest.approx(math.log((math.e + 2) / math.e))


def test_indifferent_embeddings_are_at_chance() -> None:
    z = torch.ones(8, 4)
    assert float(nt_xent(z, z, temperature=0.1)) == pytest.approx(math.log(15), rel=1e-5)


def test_invariances_and_order() -> None:
    z1, z2 = torch.randn(2, 16, 8, dtype=torch.float64)
    loss = nt_xent(z1, z2, temperature=0.2)
    order, rotation = torch.randperm(16), torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q
    torch.testing.assert_close(nt_xent(z1[order], z2[order], temperature=0.2), loss)
    torch.testing.assert_close(nt_xent(z1 @ rotation, 3 * z2 @ rotation, temperature=0.2), loss)
    torch.testing.assert_close(nt_xent(z2, z1, temperature=0.2), loss)
    assert nt_xent(z1, z1, temperature=0.2) < loss < nt_xent(z1, -z1, temperature=0.2)


def test_gradient() -> None:
    z1, z2 = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True).unbind()
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, temperature=0.3), (z1, z2))
