"""Weights are held to a largest singular value of one, and what finds it moves only when told."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from twinlens.heads.spectral import advance, spectral

LAYERS = [lambda: nn.Linear(30, 20), lambda: nn.Conv2d(4, 12, 3), lambda: nn.Linear(9, 1), lambda: nn.Conv1d(3, 5, 2)]


def largest(weight: torch.Tensor) -> float:
    """The largest singular value of the matrix (D', the rest), by numpy."""
    return float(np.linalg.svd(weight.detach().numpy().reshape(len(weight), -1), compute_uv=False)[0])


@pytest.mark.parametrize("layer", LAYERS)
def test_after_many_advances_the_largest_singular_value_is_one(layer) -> None:
    torch.manual_seed(0)
    plain = layer()
    held = spectral(deepcopy(plain)).double()
    for _ in range(500):
        advance(held)
    assert largest(held.weight) == pytest.approx(1, abs=1e-6)
    expected = plain.weight.detach().double() / largest(plain.weight)
    assert torch.allclose(held.weight, expected, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_it_is_nearly_one_from_the_start_and_never_below(layer) -> None:
    torch.manual_seed(0)
    assert 1 - 1e-5 <= largest(spectral(layer()).weight) < 1.1  # u^T W v of unit vectors is at most the largest


def test_values_known_by_hand() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    held = spectral(layer)
    for _ in range(20):
        advance(held)
    assert torch.allclose(held.weight, torch.tensor([[0.75, 0.0], [0.0, -1.0]]), atol=1e-4)
    assert torch.allclose(held(torch.tensor([[1.0, 1.0]])), torch.tensor([[0.75, -1.0]]), atol=1e-4)


def test_the_size_of_the_weight_does_not_matter() -> None:
    torch.manual_seed(0)
    held = spectral(nn.Linear(6, 4))
    before = held.weight.detach().clone()
    with torch.no_grad():
        held.parametrizations.weight.original.mul_(7)
    assert torch.allclose(held.weight, before, atol=1e-6)


def test_a_forward_changes_nothing_and_an_advance_moves_only_the_vectors() -> None:
    torch.manual_seed(0)
    held = nn.Sequential(spectral(nn.Conv2d(3, 8, 3)), nn.Flatten(), nn.Sequential(spectral(nn.Linear(8, 2))))
    before = {name: value.clone() for name, value in held.state_dict().items()}
    held.train()(torch.randn(2, 3, 3, 3)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in held.state_dict().items())
    advance(held)
    moved = {name for name, value in held.state_dict().items() if not torch.equal(value, before[name])}
    assert len(moved) == 4 and all(name.endswith((".0.u", ".0.v")) for name in moved)


def test_an_advance_is_a_step_of_the_power_iteration() -> None:
    torch.manual_seed(0)
    held = spectral(nn.Conv2d(3, 5, 2))
    own = held.parametrizations.weight
    with torch.no_grad():
        own.original.normal_()
    w, u = own.original.detach().double().flatten(1).numpy(), own[0].u.double().numpy()
    advance(held)
    v = w.T @ u
    v /= np.sqrt((v**2).sum())
    u = w @ v
    u /= np.sqrt((u**2).sum())
    assert np.allclose(own[0].v, v, atol=1e-6) and np.allclose(own[0].u, u, atol=1e-6)
    assert np.allclose(held.weight.detach().flatten(1), w / (u @ w @ v), atol=1e-6)


def test_the_gradient_is_the_papers() -> None:
    """Equation 10 of the paper: (G - <W/sigma, G> u v^T) / sigma, for G the gradient of the normalised weight."""
    torch.manual_seed(0)
    held = spectral(nn.Linear(7, 5)).double()
    for _ in range(300):
        advance(held)
    own, g = held.parametrizations.weight, torch.randn(5, 7, dtype=torch.float64)
    (held.weight * g).sum().backward()
    w, u, v = own.original.detach(), own[0].u, own[0].v
    sigma = u @ w @ v
    assert torch.allclose(own.original.grad, (g - (w / sigma * g).sum() * u[:, None] * v) / sigma, atol=1e-10)


def test_it_does_not_grow_what_goes_through() -> None:
    torch.manual_seed(0)
    held = spectral(nn.Linear(16, 16, bias=False))
    for _ in range(300):
        advance(held)
    x = torch.randn(100, 16)
    assert (held(x).norm(dim=1) <= x.norm(dim=1) * (1 + 1e-4)).all()


def test_the_vectors_are_drawn_from_torchs_generator_and_saved() -> None:
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(spectral(nn.Linear(6, 4)).state_dict())
    names = list(weights[0])
    assert any(name.endswith("0.u") for name in names)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in names)
    fresh = spectral(nn.Linear(6, 4))
    fresh.load_state_dict(weights[2])
    assert all(torch.equal(fresh.state_dict()[name], weights[2][name]) for name in names)
    deepcopy(fresh)(torch.randn(2, 6))


def test_other_layers_are_left_alone() -> None:
    plain = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.utils.parametrizations.orthogonal(nn.Linear(3, 3)))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    advance(plain)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
