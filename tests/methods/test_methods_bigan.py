"""BiGAN: both losses by hand, who gets which gradient, what is drawn, the way there and back, and the two rates."""

import math
from typing import Any

import pytest
import torch
from support import SIZE, small_settings
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch
from twinlens.encoders.sequence import words
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.heads.spectral import PairDiscriminator
from twinlens.methods.bigan import BiGAN
from twinlens.update.optimizers import optimizer

SAMPLES = 5


def bigan(seed: int = 0, **settings: Any) -> BiGAN:
    torch.manual_seed(seed)
    encoder = vit(3, SIZE, patch=2, width=16, depth=1, heads=2)
    method = BiGAN(encoder, **small_settings(BiGAN) | settings).double()
    with torch.no_grad():  # so that neither side is right about everything
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return method


def batch(samples: int = SAMPLES, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 3, SIZE, SIZE, generator=draws, dtype=torch.float64) * 4 - 2
    return Batch((x,), torch.arange(samples), random.keys(seed, 0, torch.arange(samples)))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@torch.no_grad()
def odds(method: BiGAN, given: Batch) -> tuple[list[float], list[float]]:
    """D's logits of (x, E(x)) and of (G(z), z), one sample at a time."""
    x, z = given.views[0], random.normal(given.key, method.dim).double()
    one = [slice(i, i + 1) for i in range(len(x))]
    real = [float(method.discriminator(x[i], method.encoder(x[i]))) for i in one]
    return real, [float(method.discriminator(2 * method.generator(z[i]).tanh(), z[i])) for i in one]


def test_the_loss_is_the_sum_of_both_players() -> None:
    method, given = bigan(), batch()
    (loss,) = method.encode(given)
    real, generated = odds(method, given)
    told = [-math.log(sigmoid(r)) - math.log(1 - sigmoid(g)) for r, g in zip(real, generated, strict=True)]
    deceived = [-math.log(1 - sigmoid(r)) - math.log(sigmoid(g)) for r, g in zip(real, generated, strict=True)]
    assert loss.tolist() == pytest.approx([a + b for a, b in zip(told, deceived, strict=True)])
    assert method.compare(loss).item() == pytest.approx(sum(loss.tolist()) / SAMPLES)


def test_a_discriminator_that_knows_nothing_costs_four_times_log_two() -> None:
    method = bigan()
    method.discriminator.forward = lambda x, z: 0.0 * x.flatten(1).sum(1)  # type: ignore[method-assign]
    (loss,) = method.encode(batch())
    assert loss.tolist() == pytest.approx([4 * math.log(2)] * SAMPLES)


def gradient(method: BiGAN, loss: Tensor) -> dict[str, Tensor]:
    method.zero_grad()
    loss.backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in method.named_parameters()}


@pytest.mark.parametrize("cycle", [0.0, 0.7])
def test_each_player_gets_the_gradient_of_its_own_loss_alone(cycle: float) -> None:
    """The same two losses one after the other, each with respect to its player's parameters only."""
    method, given = bigan(cycle=cycle), batch()
    found = gradient(method, method.compare(*method.encode(given)))
    x, z = given.views[0], random.normal(given.key, method.dim).double()
    z_hat, x_hat = method.encoder(x), 2 * method.generator(z).tanh()
    real, generated = method.discriminator(x, z_hat).sigmoid(), method.discriminator(x_hat, z).sigmoid()
    swapped = -(1 - real).log() - generated.log()
    swapped = swapped + cycle * (2 * method.generator(z_hat).tanh() - x).square().mean((1, 2, 3))
    told = -real.log() - (1 - generated).log()
    own = {name: p for name, p in method.named_parameters() if name.startswith("discriminator")}
    others = {name: p for name, p in method.named_parameters() if name not in own}
    assert own and others
    for loss, players in ((told.mean(), own), (swapped.mean(), others)):
        expected = torch.autograd.grad(loss, list(players.values()), retain_graph=True)
        for name, each in zip(players, expected, strict=True):
            assert torch.allclose(found[name], each, rtol=1e-9, atol=1e-12), name
            assert each.any(), name


def test_the_players_losses_pull_against_each_other() -> None:
    """One step of D alone lowers its loss; one of E and G alone lowers theirs; each raises the other's."""
    for mine in (True, False):
        method, given = bigan(), batch()
        before = odds(method, given)
        gradient(method, method.compare(*method.encode(given)))
        with torch.no_grad():
            for name, parameter in method.named_parameters():
                if name.startswith("discriminator") == mine:
                    parameter.sub_(1e-4 * parameter.grad)
        after = odds(method, given)

        def telling(logits: tuple[list[float], list[float]]) -> float:
            return sum(-math.log(sigmoid(r)) - math.log(1 - sigmoid(g)) for r, g in zip(*logits, strict=True))

        assert (telling(after) < telling(before)) == mine


def test_a_sample_does_not_depend_on_its_batch() -> None:
    method, given = bigan(), batch()
    (loss,) = method.encode(given)
    order = torch.tensor([3, 1])
    (part,) = method.encode(Batch((given.views[0][order],), given.index[order], given.key[order]))
    assert torch.allclose(part, loss[order])


def test_all_that_is_random_comes_from_the_key() -> None:
    method, given = bigan(), batch()
    (loss,), (again,) = method.encode(given), method.encode(given)
    assert torch.equal(loss, again)
    (other,) = method.encode(given._replace(key=random.fold(given.key, 1)))
    assert not torch.isclose(loss, other).any()
    codes = method.draw(random.keys(0, 0, torch.arange(4000)))
    assert codes.shape == (4000, method.dim)
    assert codes.mean() == pytest.approx(0, abs=0.02) and codes.std() == pytest.approx(1, abs=0.02)


def test_only_an_update_moves_the_discriminators_norms() -> None:
    method = bigan()
    before = {name: value.clone() for name, value in method.named_buffers()}
    method.encode(batch())
    method.tell(batch())
    assert all(torch.equal(value, before[name]) for name, value in method.named_buffers())
    method.update(0.5)
    assert any(not torch.equal(value, before[name]) for name, value in method.named_buffers() if name.endswith("0.u"))


def test_there_and_back_and_what_is_shown() -> None:
    method, given = bigan(), batch()
    x = given.views[0]
    code = method.code(x)
    assert code.shape == (SAMPLES, method.dim)
    shown = method.show(given)
    assert list(shown) == ["sample", "reconstruction"]
    assert torch.equal(shown["sample"], x) and torch.equal(shown["reconstruction"], method.decode(code))
    assert method.decode(1e6 * code).abs().max() <= 2


def test_what_is_told_is_the_share_that_the_discriminator_gets_right() -> None:
    method, given = bigan(), batch(40)
    real, generated = odds(method, given)
    right = sum(r > 0 for r in real) + sum(g < 0 for g in generated)
    assert method.tell(given) == {"discriminator": pytest.approx(right / 80)}


def test_the_discriminator_has_a_rate_of_its_own() -> None:
    method = bigan(discriminator_rate=0.3)
    groups = optimizer("adamw", method, rate=1e-3, decay=0.0).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {group["betas"] for group in groups} == {(0.5, 0.999)}
    for name, parameter in method.named_parameters():
        assert rates[id(parameter)] == pytest.approx(3e-4 if name.startswith("discriminator") else 1e-3), name


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (2, 4, 4), (30,), (2, 5), (3, 4, 16, 16)])
def test_a_discriminator_of_any_shape_sees_all_of_both(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    judge = PairDiscriminator(shape, 6, width=8, hidden=16)
    x, z = torch.randn(3, *shape, requires_grad=True), torch.randn(3, 6, requires_grad=True)
    found = judge(x, z)
    assert found.shape == (3,)
    found[1].backward()
    assert x.grad is not None and z.grad is not None
    assert x.grad[1].all() and z.grad[1].all()
    assert not x.grad[[0, 2]].any() and not z.grad[[0, 2]].any()
    assert len([name for name, _ in judge.named_buffers() if name.endswith("0.u")]) == sum(
        isinstance(part, nn.Linear | nn.Conv2d) for part in judge.modules()
    )


def test_maps_are_halved_to_less_than_eight_and_features_doubled() -> None:
    judge = PairDiscriminator((1, 28, 28), 6, width=8, hidden=16)
    convolutions = [part for part in judge.modules() if isinstance(part, nn.Conv2d)]
    assert [part.out_channels for part in convolutions] == [8, 16]
    assert [part.in_features for part in judge.of_x if isinstance(part, nn.Linear)] == [16 * 7 * 7]


def test_words_cannot_be_generated() -> None:
    with pytest.raises(InputError, match="ids of"):
        BiGAN(words(20, 8, width=16, depth=1, heads=2), dim=4)
