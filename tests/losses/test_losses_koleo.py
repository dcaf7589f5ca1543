"""KoLeo: distances to the nearest other point, with gradient to both ends, in any size of batch."""

import math

import pytest
import torch
from torch import Tensor

from twinlens import losses
from twinlens.errors import InputError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loop(z: Tensor) -> Tensor:
    u = [row / row.norm() for row in z]
    nearest = [min((a - b).norm() for j, b in enumerate(u) if j != i) for i, a in enumerate(u)]
    return -torch.stack(nearest).log().mean()


def test_known_by_hand() -> None:
    degrees = torch.tensor([0.0, 60.0, 150.0, 180.0]).double()  # chords of 60, 60, 30 and 30 degrees to the nearest
    z = torch.stack((degrees.deg2rad().cos(), degrees.deg2rad().sin()), dim=1) * torch.tensor([[1], [2], [5], [0.1]])
    chord = 2 * math.sin(math.radians(15))
    assert losses.koleo(z).item() == pytest.approx(-(math.log(1) + math.log(chord)) / 2, abs=1e-6)
    assert losses.koleo(torch.eye(5).double()).item() == pytest.approx(-math.log(math.sqrt(2)))
    assert losses.koleo(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item() == pytest.approx(-math.log(2))


def test_the_value_and_the_gradient_are_those_of_all_distances() -> None:
    z = normal(40, 5).requires_grad_()
    found, plain = losses.koleo(z), by_loop(z)
    torch.testing.assert_close(found, plain, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z)[0] for loss in (found, plain)), rtol=1e-6, atol=1e-7)


def test_more_rows_than_a_block_of_the_search_holds() -> None:
    z = normal(8300, 8, seed=1)
    u = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(0, 8300, 100):
        cosine = u[i : i + 100] @ u.T
        cosine[range(100), range(i, i + 100)] = -1
        total -= (2 - 2 * cosine.amax(dim=1)).sqrt().log().sum().item()
    assert losses.koleo(z).item() == pytest.approx(total / 8300, rel=1e-5)


def test_it_knows_neither_lengths_nor_axes_nor_order() -> None:
    z = normal(12, 4, seed=2)
    turn = torch.linalg.qr(normal(4, 4, seed=3)).Q
    scaled = z * normal(12, 1, seed=4).exp()
    for same in (scaled, z @ turn, z.flip(0)):
        torch.testing.assert_close(losses.koleo(same), losses.koleo(z), rtol=1e-6, atol=1e-7)


def test_points_that_coincide_are_finite_and_take_no_gradient() -> None:
    z = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]]).requires_grad_()
    loss = losses.koleo(z)
    loss.backward()
    assert z.grad is not None
    assert loss.item() == pytest.approx(-(4 * math.log(1e-8) + math.log(math.sqrt(2))) / 5)
    assert z.grad.isfinite().all() and (z.grad[:4].abs().sum(dim=1) > 0).sum() <= 1  # but for the last one's neighbour


def test_a_point_is_never_its_own_neighbour_though_in_float32_another_may_be_as_near_to_it() -> None:
    z = normal(30, 5, seed=5)
    z = torch.cat((z, z + 1e-5 * normal(30, 5, seed=6)))
    torch.testing.assert_close(losses.koleo(z), by_loop(z), rtol=2e-3, atol=0)  # 1e-8 is added to 1e-5


def test_one_point_has_no_neighbour() -> None:
    with pytest.raises(InputError, match="2 rows or more"):
        losses.koleo(torch.ones(1, 3))
