"""LeJEPA: the test of Epps and Pulley, its counted directions, and the prediction of the large views' mean."""

import cmath
import math

import pytest
import torch
from scipy.integrate import quad
from support import build
from torch import Tensor

from twinlens.batch import Batch
from twinlens.methods.lejepa import LeJEPA, epps_pulley


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def statistic(x: Tensor) -> Tensor:
    return epps_pulley(x, points=17, reach=5.0)


def integrand(x: Tensor, t: float) -> float:
    """What algorithm 1 integrates, for one column (N,), a sample at a time."""
    ecf = sum(cmath.exp(1j * t * value) for value in x.tolist()) / len(x)
    return len(x) * abs(ecf - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2)


@pytest.mark.parametrize("points", [17, 16, 5, 2])
def test_epps_pulley_is_the_trapezoid_rule_over_the_whole_domain(points: int) -> None:
    x = normal(6, 3) + 0.5
    step = 2 * 4.0 / (points - 1)
    for column, found in zip(x.T, epps_pulley(x, points=points, reach=4.0), strict=True):
        values = [integrand(column, -4 + step * i) for i in range(points)]
        by_loop = sum((a + b) / 2 * step for a, b in zip(values, values[1:]))  # noqa: RUF007
        assert float(found) == pytest.approx(by_loop, rel=1e-9)


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.7])
def test_epps_pulley_is_the_integral_and_its_closed_form(scale: float) -> None:
    x = scale * normal(20)
    integral, _ = quad(lambda t: integrand(x, t), -math.inf, math.inf)
    pairs = sum(math.exp(-((a - b) ** 2) / 2) for a in x.tolist() for b in x.tolist()) / 20
    closed = pairs - math.sqrt(2) * sum(math.exp(-(a**2) / 4) for a in x.tolist()) + 20 / math.sqrt(3)
    assert integral == pytest.approx(math.sqrt(2 * math.pi) * closed)
    assert float(statistic(x)) == pytest.approx(integral, rel=1e-3)


def test_epps_pulley_of_complete_collapse_known_by_hand() -> None:
    each = math.sqrt(2 * math.pi) * (1 - math.sqrt(2) + 1 / math.sqrt(3))  # integral of (1 - phi)^2 phi
    assert float(statistic(torch.zeros(50).double())) == pytest.approx(50 * each, rel=1e-4)


def test_epps_pulley_is_larger_the_less_gaussian() -> None:
    x = normal(512, 64)
    sign = torch.where(normal(512, 64, seed=1) > 0, 1.0, -1.0)
    gaussian = statistic(x).mean()
    # n times the squared error of n samples has a mean that does not depend on n: here the integral of (1 - phi^2) phi.
    assert float(gaussian) == pytest.approx(math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3)), rel=0.15)
    others = {"collapsed": 0 * x, "narrow": 0.5 * x, "wide": 2 * x, "moved": x + 1, "bimodal": sign + 0.1 * x,
              "uniform": math.sqrt(12) * (torch.special.ndtr(x) - 0.5)}  # fmt: skip
    found = {name: float(statistic(other).mean() / gaussian) for name, other in others.items()}
    assert found.pop("uniform") > 1.5 and all(ratio > 10 for ratio in found.values()), found


def test_epps_pulley_knows_no_order_and_no_sign_and_takes_columns_one_by_one() -> None:
    x = normal(30, 4, 2)
    found = statistic(x)
    assert found.shape == (4, 2)
    torch.testing.assert_close(statistic(x.flip(0)), found)
    torch.testing.assert_close(statistic(-x), found)
    torch.testing.assert_close(statistic(x[:, 2, 1]), found[2, 1])


def test_epps_pulley_pulls_a_narrow_sample_apart_and_a_wide_one_together() -> None:
    for scale, way in ((0.3, 1), (3.0, -1)):
        x = (scale * normal(200)).requires_grad_()
        (slope,) = torch.autograd.grad(statistic(x), x)
        assert way * float((slope * x.detach()).sum()) < 0


def test_the_loss_is_algorithm_2() -> None:
    method, z = build(LeJEPA), normal(6, 8, 16)
    a = method.directions(z)
    prediction, sigreg = 0.0, 0.0
    for n in range(6):
        mu = [(z[n, 0, k] + z[n, 1, k]) / 2 for k in range(16)]
        prediction += sum(float(z[n, v, k] - mu[k]) ** 2 for v in range(8) for k in range(16)) / (6 * 8 * 16)
    for v in range(8):
        for m in range(16):
            x = torch.stack([sum(z[n, v, k] * a[k, m] for k in range(16)) for n in range(6)])
            values = [integrand(x, -5 + 10 / 15 * i) for i in range(16)]  # support cuts the points to 16
            sigreg += sum((b + c) / 2 * 10 / 15 for b, c in zip(values, values[1:])) / (8 * 16)  # noqa: RUF007
    assert method.compare(z).item() == pytest.approx(0.95 * prediction + 0.05 * sigreg, rel=1e-6)
    method.trade_off = 0.0
    assert method.compare(z).item() == pytest.approx(prediction)
    assert method.compare(z[:, :1].expand_as(z)).item() == pytest.approx(0)


def test_the_loss_knows_no_order_of_samples_nor_of_views_of_one_size() -> None:
    method, z = build(LeJEPA), normal(6, 8, 16)
    loss = method.compare(z)
    torch.testing.assert_close(method.compare(z.flip(0)), loss)
    torch.testing.assert_close(method.compare(z[:, [1, 0, *range(7, 1, -1)]]), loss)
    assert not torch.allclose(method.compare(z.flip(1)), loss)  # the large views are what is predicted


def test_all_views_take_a_gradient_of_the_prediction() -> None:
    method, z = build(LeJEPA), normal(6, 8, 16).requires_grad_()
    method.trade_off = 0.0
    (slope,) = torch.autograd.grad(method.compare(z), z)
    mu = z[:, :2].mean(1)
    pull = 2 * (z - mu[:, None]) / z.numel()
    pull[:, :2] -= pull.sum(1, keepdim=True) / 2  # the mean is not held fixed
    torch.testing.assert_close(slope, pull)


def test_directions_are_unit_vectors_counted_by_the_step() -> None:
    method, other, z = build(LeJEPA), build(LeJEPA, seed=1), normal(6, 8, 16)
    first = method.directions(z)
    assert first.shape == (16, 16) and first.dtype == z.dtype
    torch.testing.assert_close(first.norm(dim=0), torch.ones(16).double(), rtol=1e-6, atol=0)
    assert torch.equal(first, other.directions(z[:2].float()).double())  # of step and width alone
    method.update(0.1, z)
    second = method.directions(z)
    assert not torch.allclose(first, second)
    other.load_state_dict(method.state_dict())
    assert torch.equal(second, other.directions(z))


def test_directions_point_everywhere() -> None:
    method = build(LeJEPA)
    method.slices = 20000
    a = method.directions(torch.zeros(1, 1, 3).double())
    torch.testing.assert_close(a.mean(1), torch.zeros(3).double(), rtol=0, atol=0.02)
    torch.testing.assert_close(a @ a.T / 20000, torch.eye(3).double() / 3, rtol=0, atol=0.02)


def test_views_of_one_size_run_in_one_forward() -> None:
    method, seen = build(LeJEPA), []
    method.encoder.register_forward_hook(lambda module, given, out: seen.append((tuple(given[0].shape), out)))
    large, small = torch.randn(2, 3, 3, 8, 8), torch.randn(6, 3, 3, 4, 4)
    (z,) = method.encode(Batch((*large, *small), torch.arange(3), torch.arange(3)))
    assert [shape for shape, _ in seen] == [(6, 3, 8, 8), (18, 3, 4, 4)] and z.shape == (3, 8, 16)
    projected = method.project(torch.cat([out for _, out in seen])).view(8, 3, 16)
    torch.testing.assert_close(z[2, 5], projected[5, 2])
