"""Likelihoods and the divergence from the prior: loops, values by hand, integrals, and what is far out."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from twinlens.errors import InputError
from twinlens.losses.likelihood import bernoulli, discretised_logistic, gaussian, kl

SHAPE = (3, 2, 4, 5)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views(*shape: int, seed: int = 1) -> Tensor:
    return 4 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 2


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t)) if t >= 0 else math.exp(t) / (1 + math.exp(t))


def mass(mean: float, scale: float, level: int, levels: int) -> float:
    """What the distribution function says: between two edges, of which the outermost are infinitely far."""
    edges = [-math.inf, *(-2 + 4 * k / levels for k in range(1, levels)), math.inf]
    ends = [0.0 if math.isinf(e) and e < 0 else 1.0 if math.isinf(e) else sigmoid((e - mean) / scale) for e in edges]
    return ends[level + 1] - ends[level]


def by_loop(of_one: Callable[[float, float, float], float], said: Tensor, x: Tensor, scale: Tensor) -> list[float]:
    flat = zip(said.flatten(1).tolist(), x.flatten(1).tolist(), scale.expand_as(x).flatten(1).tolist(), strict=True)
    return [sum(of_one(*numbers) for numbers in zip(*sample, strict=True)) for sample in flat]


@pytest.mark.parametrize("scale", [noise(1), noise(2, 1, 1, seed=3), noise(*SHAPE, seed=4)], ids=["one", "C", "all"])
def test_gaussian_and_logistic_are_the_sum_over_numbers(scale: Tensor) -> None:
    mean, x = noise(*SHAPE), views(*SHAPE)

    def density(m: float, v: float, s: float) -> float:
        return -math.log(math.exp(-(((v - m) / math.exp(s)) ** 2) / 2) / (math.exp(s) * math.sqrt(2 * math.pi)))

    def bits(m: float, v: float, s: float) -> float:
        return -math.log(mass(m, math.exp(s), math.floor((v + 2) * 16 / 4), 16))

    assert gaussian(mean, x, scale).tolist() == pytest.approx(by_loop(density, mean, x, scale), rel=1e-10)
    found = discretised_logistic(mean, scale, x, levels=16)
    assert found.tolist() == pytest.approx(by_loop(bits, mean, x, scale), rel=1e-10)


def test_bernoulli_is_the_sum_over_numbers() -> None:
    logits, x = noise(*SHAPE), views(*SHAPE)

    def entropy(said: float, v: float, _: float) -> float:
        p, q = (v + 2) / 4, sigmoid(said)
        return -p * math.log(q) - (1 - p) * math.log(1 - q)

    assert bernoulli(logits, x).tolist() == pytest.approx(by_loop(entropy, logits, x, torch.zeros(1)), rel=1e-10)


def test_values_known_by_hand() -> None:
    zero, two = torch.zeros(1, 3).double(), torch.full((1, 3), 2.0).double()
    half = 1.5 * math.log(2 * math.pi)
    assert float(gaussian(zero, zero, 0.0)) == pytest.approx(half)
    assert float(gaussian(zero, two, math.log(2))) == pytest.approx(half + 3 * (0.5 + math.log(2)))
    assert float(bernoulli(zero, two)) == pytest.approx(3 * math.log(2))
    assert float(bernoulli(two, -two)) == pytest.approx(3 * math.log(1 + math.e**2))  # certain of white, shown black
    assert float(bernoulli(two, 5 * two)) == float(bernoulli(two, two))  # brighter than white
    assert float(discretised_logistic(zero, 0.0, zero, levels=2)) == pytest.approx(3 * math.log(2))
    third = 1 / (1 + math.exp(-2.0)) - 0.5  # of four parts the third is from 0 to 1, at a scale of a half
    assert float(discretised_logistic(zero, math.log(0.5), zero, levels=4)) == pytest.approx(-3 * math.log(third))
    one = torch.ones(1, 3).double()
    assert kl(zero, zero).tolist() == [[0.0] * 3]
    assert kl(2 * one, zero).tolist() == [[2.0] * 3]
    assert kl(zero, one).tolist() == [pytest.approx([(math.e - 2) / 2] * 3)]


def test_levels_are_where_grey_is() -> None:
    grey = torch.arange(256).double()[:, None] / 64 - 2  # as bytes become views
    sure = discretised_logistic(grey + 1 / 128, math.log(1e-4), grey)
    assert sure.max() < 1e-9  # the mean in the middle of its part
    assert float(discretised_logistic(grey[:1] + 1 / 64 + 1 / 128, math.log(1e-4), grey[:1])) > 10  # one level off


@pytest.mark.parametrize("levels", [2, 3, 10, 256])
@pytest.mark.parametrize("mean", [-7.0, -1.3, 0.0, 1.99])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 30.0])
def test_masses_of_all_levels_sum_to_one(levels: int, mean: float, scale: float) -> None:
    x = (torch.arange(levels).double()[:, None] + 0.5) * 4 / levels - 2
    nats = discretised_logistic(torch.full_like(x, mean), math.log(scale), x, levels)
    assert float((-nats).exp().sum()) == pytest.approx(1.0, rel=1e-12)


def test_what_lies_outside_belongs_to_the_outermost_levels() -> None:
    mean = torch.full((2, 1), 0.3).double()
    ends = torch.tensor([[-1.99], [1.99]]).double()
    assert torch.equal(discretised_logistic(mean, 0.2, 3 * ends), discretised_logistic(mean, 0.2, ends))


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.3, -2.0), (-0.4, 1.5), (3.0, 0.7)])
def test_the_divergence_is_its_integral(mean: float, log_variance: float) -> None:
    deviation = math.exp(log_variance / 2)

    def log_q(z: float) -> float:
        return -(((z - mean) / deviation) ** 2) / 2 - math.log(deviation)

    def integrand(z: float) -> float:
        return math.exp(log_q(z)) / math.sqrt(2 * math.pi) * (log_q(z) + z**2 / 2)

    expected, _ = quad(integrand, mean - 12 * deviation, mean + 12 * deviation, epsabs=1e-12)
    found = kl(*torch.tensor([[[mean, mean]], [[log_variance, 0.0]]], dtype=torch.float64))
    assert float(found[0, 0]) == pytest.approx(expected, abs=1e-9)
    assert float(found[0, 1]) == pytest.approx(mean**2 / 2)  # each dimension by itself


def test_the_divergence_is_least_at_the_prior_and_exact_near_it() -> None:
    near = torch.tensor([[1e-4, -1e-4]])  # float32: exp(s) - 1 - s would be lost
    assert kl(torch.zeros_like(near), near).tolist() == [pytest.approx([2.5e-9] * 2, rel=1e-2)]
    assert (kl(noise(50, 4), noise(50, 4, seed=2)) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [-1e3, -40.0, -7.0, 0.0, 7.0, 40.0, 1e3])
@pytest.mark.parametrize("said", [-1e4, -2.0, 0.0, 2.0, 1e4])
def test_what_is_far_out_stays_finite_with_its_gradient(dtype: torch.dtype, scale: float, said: float) -> None:
    x = torch.tensor([[-2.0, -1.984375, 0.0, 1.984375, 2.0, 3.0]]).to(dtype)
    mean = torch.full_like(x, said).requires_grad_()
    log = torch.tensor(scale, dtype=dtype, requires_grad=True)
    for nats in (
        gaussian(mean, x, log), discretised_logistic(mean, log, x), bernoulli(mean, x), kl(mean, log.expand_as(mean)),
    ):  # fmt: skip
        assert nats.isfinite().all() and nats.dtype in (torch.float32, torch.float64)
        grads = torch.autograd.grad(nats.sum(), (mean, log), allow_unused=True)
        assert all(g.isfinite().all() for g in grads if g is not None)


def test_gradients_are_those_of_the_formulas() -> None:
    mean, x, log = noise(2, 3).requires_grad_(), views(2, 3), (0.3 * noise(2, 3, seed=5)).requires_grad_()
    for function in (
        lambda m, s: gaussian(m, x, s), lambda m, s: discretised_logistic(m, s, x, 8),
        lambda m, s: bernoulli(m, x) + 0 * s.sum(), kl,
    ):  # fmt: skip
        assert torch.autograd.gradcheck(function, (mean, log))


def test_half_the_nats_are_of_half_the_numbers_and_their_order_is_nothing() -> None:
    mean, x = noise(*SHAPE), views(*SHAPE)
    for nats in (lambda m, v: gaussian(m, v, 0.3), lambda m, v: discretised_logistic(m, 0.3, v), bernoulli):
        whole = nats(mean, x)
        assert whole.shape == SHAPE[:1]
        torch.testing.assert_close(nats(mean[:, :1], x[:, :1]) + nats(mean[:, 1:], x[:, 1:]), whole)
        torch.testing.assert_close(nats(mean.flip(3), x.flip(3)), whole)
        torch.testing.assert_close(nats(mean.flip(0), x.flip(0)), whole.flip(0))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"mean has shape \(2, 3\) and x \(2, 1\): give both the same shape"):
        gaussian(torch.zeros(2, 3), torch.zeros(2, 1), 0.0)
    with pytest.raises(InputError, match=r"mean has shape \(2, 3\) and log_variance \(3,\): give both"):
        kl(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(InputError, match=r"x is of torch\.int64: expected floating-point"):
        bernoulli(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(InputError, match=r"levels is 1: expected 2 or more parts"):
        discretised_logistic(torch.zeros(2, 3), 0.0, torch.zeros(2, 3), levels=1)
