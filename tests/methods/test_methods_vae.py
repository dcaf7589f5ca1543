"""VAE: the bound by loop, its gradient against the integral over the noise, free bits, and the way back."""

import math

import pytest
import torch
from drawing import SHAPES, Flat, batch
from torch import Tensor, nn

from twinlens import random
from twinlens.encoders.sequence import words
from twinlens.errors import InputError
from twinlens.losses.likelihood import Likelihood
from twinlens.method import Generates, Shows
from twinlens.methods.vae import VAE
from twinlens.update.optimizers import optimizer

KINDS: list[Likelihood] = ["gaussian", "bernoulli", "logistic"]


def build(*shape: int, dim: int = 3, beta: float = 1.0, free_bits: float = 0.0, kind: Likelihood = "gaussian") -> VAE:
    torch.manual_seed(0)
    return VAE(Flat(*shape), dim=dim, beta=beta, free_bits=free_bits, likelihood=kind, decoder_width=8).double()


def of_one(kind: Likelihood, said: float, x: float, log_scale: float) -> float:
    if kind == "gaussian":
        return (x - said) ** 2 / (2 * math.exp(2 * log_scale)) + log_scale + math.log(2 * math.pi) / 2
    if kind == "bernoulli":
        p, q = (x + 2) / 4, 1 / (1 + math.exp(-said))
        return -p * math.log(q) - (1 - p) * math.log(1 - q)
    level = math.floor((x + 2) * 64)
    ends = [1 / (1 + math.exp(-(edge - said) / math.exp(log_scale))) for edge in (level / 64 - 2, (level + 1) / 64 - 2)]
    return -math.log((1.0 if level == 255 else ends[1]) - (0.0 if level == 0 else ends[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_its_two_terms_number_by_number(kind: Likelihood) -> None:
    method, made = build(2, 3, 4, kind=kind, beta=2.0), batch(2, 3, 4)
    log_scale = 0.0
    if kind != "bernoulli":
        with torch.no_grad():
            method.scale[0].fill_(-0.7)
        log_scale = -0.7
    x = made.views[0]
    both = method.posterior(method.encoder(x))
    noise = random.normal(made.key, 3)
    total = 0.0
    for n in range(5):
        mu, s = both[n, :3].tolist(), both[n, 3:].tolist()
        z = [m + math.exp(v / 2) * float(e) for m, v, e in zip(mu, s, noise[n], strict=True)]
        drawn = method.decoder(torch.tensor([z], dtype=torch.float64))[0].flatten().tolist()
        total += sum(of_one(kind, a, b, log_scale) for a, b in zip(drawn, x[n].flatten().tolist(), strict=True))
        total += 2.0 * sum((m**2 + math.exp(v) - v - 1) / 2 for m, v in zip(mu, s, strict=True))
    assert float(method.compare(*method.encode(made)).detach()) == pytest.approx(
        total / 5 / 24, rel=1e-6
    )  # noise is float32


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_any_shape_is_drawn_and_every_parameter_learns(shape: tuple[int, ...], kind: Likelihood) -> None:
    method, made = build(*shape, kind=kind), batch(*shape)
    parts = method.encode(made)
    assert [part.shape for part in parts] == [(5,), (5, 3)]
    method.compare(*parts).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert method.decode(method.code(made.views[0])).shape == (5, *shape)


def test_the_bound_lies_below_the_evidence_and_meets_it_at_the_true_posterior() -> None:
    """A linear decoder has a Gaussian posterior: there the bound, averaged over the noise, is the evidence."""
    torch.manual_seed(0)
    method = build(3, dim=1)
    w, sigma = torch.tensor([[0.8], [-0.5], [1.1]]).double(), 0.6
    method.encoder, method.decoder = nn.Identity(), nn.Linear(1, 3).double()
    method.posterior = nn.Linear(3, 2).double()
    precision = 1 + float((w**2).sum()) / sigma**2
    with torch.no_grad():
        method.decoder.weight.copy_(w)
        method.decoder.bias.zero_()
        method.scale[0].fill_(math.log(sigma))
        method.posterior.weight.copy_(torch.stack((w[:, 0] / sigma**2 / precision, torch.zeros(3).double())))
        method.posterior.bias.copy_(torch.tensor([0.0, -math.log(precision)]))
    x = torch.tensor([[0.3, -0.9, 1.2]]).double()
    covariance = w @ w.T + sigma**2 * torch.eye(3).double()
    evidence = float(torch.distributions.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x))
    count = 200_000
    made = batch(3)._replace(views=(x.expand(count, -1),), key=random.keys(0, 0, torch.arange(count)))
    with torch.no_grad():
        assert float(method.compare(*method.encode(made))) == pytest.approx(-evidence / 3, abs=2e-3)
        method.posterior.bias[1] += 0.7
        assert float(method.compare(*method.encode(made))) > -evidence / 3 + 0.02


def test_noise_is_normal_and_of_the_sample_alone() -> None:
    method, made = build(16, dim=4), batch(16, samples=2000)
    seen: list[Tensor] = []
    method.decoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    whole = method.encode(made)
    both = method.posterior(method.encoder(made.views[0]))
    epsilon = (seen[0] - both[:, :4]) / (both[:, 4:] / 2).exp()
    assert epsilon.mean(0).abs().max() < 0.08 and (epsilon.std(0) - 1).abs().max() < 0.06
    assert (torch.corrcoef(epsilon.T) - torch.eye(4)).abs().max() < 0.08
    some = method.encode(made._replace(views=(made.views[0][7:9],), key=made.key[7:9]))
    for part, again in zip(whole, some, strict=True):
        torch.testing.assert_close(part[7:9], again)


def test_beta_weighs_the_divergence_and_both_count_by_number() -> None:
    reconstruction, divergence = torch.tensor([10.0, 20.0]), torch.tensor([[1.0, 2.0, 0.5], [3.0, 0.0, 0.5]])
    for beta, expected in ((0.0, 15.0), (1.0, 18.5), (4.0, 29.0)):
        assert float(build(16, beta=beta).compare(reconstruction, divergence)) == pytest.approx(expected / 16)


def test_beta_falls_to_where_it_stays() -> None:
    torch.manual_seed(0)
    method = VAE(Flat(16), dim=3, beta=2.0, beta_start=32.0, decoder_width=8)
    divergence = torch.full((4, 3), 0.5)
    for progress, beta in ((0.0, 32.0), (0.35, 8.0), (0.7, 2.0), (1.0, 2.0)):  # half way in the logarithm
        method.update(progress)
        assert float(method.compare(torch.zeros(4), divergence)) == pytest.approx(1.5 * beta / 16)
    again = VAE(Flat(16), dim=3, beta=2.0, beta_start=32.0, decoder_width=8)
    method.update(0.35)
    again.load_state_dict(method.state_dict())
    assert float(again.compare(torch.zeros(4), divergence)) == pytest.approx(1.5 * 8 / 16)  # so that a run resumes


def test_free_bits_cost_nothing_on_average_over_the_batch() -> None:
    method = build(16, free_bits=1.0, beta=2.0)
    divergence = torch.tensor([[1.6, 2.0, 0.5], [0.8, 0.0, 0.5]], requires_grad=True)  # means 1.2, 1, 0.5
    loss = method.compare(torch.zeros(2), divergence)
    assert float(loss.detach()) == pytest.approx(2 * (1.2 + 1.0 + 1.0) / 16)
    (slope,) = torch.autograd.grad(loss, divergence)
    assert (slope[:, 2] == 0).all() and slope[:, 0].tolist() == pytest.approx([1 / 16] * 2)  # 0.8 alone would be free


def test_the_scale_becomes_the_error_that_is_left() -> None:
    method, made = build(16), batch(16, samples=64)
    method.decoder = nn.Sequential(nn.Linear(3, 16).double())
    with torch.no_grad():
        method.decoder[0].weight.zero_()
        method.decoder[0].bias.zero_()
    for parameter in (*method.encoder.parameters(), *method.decoder.parameters()):
        parameter.requires_grad_(False)
    steps = optimizer("adamw", method, rate=1e-2, decay=0.05)
    for _ in range(100):
        steps.zero_grad()
        method.compare(*method.encode(made)).backward()
        steps.step()
    assert float(method.scale[0].detach()) == pytest.approx(
        math.log(float(made.views[0].square().mean().sqrt())), abs=0.02
    )


def test_the_scale_learns_ten_times_as_fast_and_does_not_decay() -> None:
    method = build(16)
    groups = optimizer("adamw", method, rate=1e-3, decay=0.05).param_groups
    (own,) = [group for group in groups if any(p is method.scale[0] for p in group["params"])]
    assert own["lr"] == pytest.approx(1e-2) and own["weight_decay"] == 0 and len(own["params"]) == 1
    assert len(build(16, kind="bernoulli").scale) == 0  # nothing that would not learn


def test_it_goes_there_and_back_and_draws_from_the_prior() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8)
    assert isinstance(method, Generates) and isinstance(method, Shows)
    x = made.views[0]
    torch.testing.assert_close(method.code(x), method.posterior(method.encoder(x))[:, :3])
    shown = method.show(made)
    assert list(shown) == ["sample", "reconstruction"] and torch.equal(shown["sample"], x)
    torch.testing.assert_close(shown["reconstruction"], method.decoder(method.code(x)))
    z = method.draw(random.keys(0, 0, torch.arange(4000)))
    assert z.shape == (4000, 3) and z.mean(0).abs().max() < 0.06 and (z.std(0) - 1).abs().max() < 0.05
    assert torch.equal(z[5:7], method.draw(random.keys(0, 0, torch.arange(5, 7))))


def test_what_bernoulli_draws_lies_between_black_and_white() -> None:
    method = build(3, 8, 8, kind="bernoulli")
    drawn = method.decode(100 * torch.randn(4, 3, dtype=torch.float64))
    logits = torch.tensor([[-50.0, 0.0, math.log(3), 50.0]]).double()
    assert drawn.min() >= -2 and drawn.max() <= 2
    method.decoder = nn.Sequential()
    assert method.decode(logits).tolist() == [pytest.approx([-2.0, 0.0, 1.0, 2.0])]


def test_what_is_drawn_in_levels_is_one_of_them() -> None:
    method = build(3, 8, 8, kind="logistic")
    method.decoder = nn.Sequential()
    said = torch.tensor([[-9.0, -1.5, 1.5, 9.0]]).double()  # black is as likely as can be however far below it lies
    assert method.decode(said).tolist() == [[-2.0, -1.5, 1.5, 2.0]]
    plain = build(3, 8, 8)
    plain.decoder = nn.Sequential()
    assert torch.equal(plain.decode(said), said)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="unknown likelihood 'gausian': did you mean gaussian"):
        build(16, kind="gausian")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"beta is -1, beta_start 0\.0 and free_bits 0\.0: expected 0 or more"):
        build(16, beta=-1)
    with pytest.raises(InputError, match=r"beta_start 0\.0 and free_bits -0\.5"):
        build(16, free_bits=-0.5)
    with pytest.raises(InputError, match="a beta above 0 to fall to"):
        VAE(Flat(16), beta=0.0, beta_start=2.0, decoder_width=8)
    with pytest.raises(InputError, match="ids of 9 words"):
        VAE(words(9, 4, width=16, depth=1, heads=2))
