"""The denoising autoencoder: how much is corrupted and how, and that the clean sample is what counts."""

import pytest
import torch
from drawing import SHAPES, Flat, batch
from torch import Tensor

from twinlens.encoders.sequence import words
from twinlens.errors import InputError
from twinlens.methods.denoising import Denoising


def build(*shape: int, noise: float = 0.0, masked: float = 0.25, dim: int = 0) -> Denoising:
    torch.manual_seed(0)
    return Denoising(Flat(*shape), noise=noise, masked=masked, decoder_width=8, dim=dim).double()


def hidden_places(method: Denoising, x: Tensor, key: Tensor) -> Tensor:
    return method.corrupt(x, key) == 0


@pytest.mark.parametrize(
    ("shape", "axis", "places"),
    [((1, 28, 28), 1, 784), ((3, 7, 9), 1, 63), ((2, 64), 1, 64), ((16,), None, 16), ((4, 3, 14, 14), 2, 4 * 196)],
    ids=str,
)
@pytest.mark.parametrize("masked", [0.1, 0.25, 0.75])
def test_the_share_hidden_is_exact_in_every_sample_and_of_all_channels(
    shape: tuple[int, ...], axis: int | None, places: int, masked: float
) -> None:
    method, made = build(*shape, masked=masked), batch(*shape, samples=20)
    hidden = hidden_places(method, made.views[0], made.key)
    if axis is not None:
        assert (hidden.any(axis) == hidden.all(axis)).all()
        hidden = hidden.any(axis)
    assert hidden.flatten(1).sum(1).tolist() == [round(masked * places)] * 20
    assert len(hidden.flatten(1).unique(dim=0)) > 16  # each its own
    seen = method.corrupt(made.views[0], made.key)
    assert ((seen == made.views[0]) | (seen == 0)).all()


def test_every_place_is_hidden_as_often() -> None:
    method, made = build(16, masked=0.25), batch(16, samples=4000)
    often = hidden_places(method, made.views[0], made.key).double().mean(0)
    assert (often - 0.25).abs().max() < 0.03


def test_noise_is_gaussian_with_a_deviation_in_ranges() -> None:
    method, made = build(3, 8, 8, noise=0.3, masked=0.0), batch(3, 8, 8, samples=200)
    added = method.corrupt(made.views[0], made.key) - made.views[0]
    assert abs(float(added.mean())) < 0.02 and float(added.std()) == pytest.approx(1.2, rel=0.02)
    assert float((added.abs() < 1.2).double().mean()) == pytest.approx(0.6827, abs=0.01)
    assert abs(float((added[:, 0] * added[:, 1]).mean())) < 0.04  # channels by themselves


def test_both_noises_at_once_and_what_is_hidden_has_no_other() -> None:
    method, made = build(3, 8, 8, noise=0.1, masked=0.5), batch(3, 8, 8)
    seen = method.corrupt(made.views[0], made.key)
    assert (seen == 0).flatten(1).sum(1).tolist() == [3 * 32] * 5
    alone = build(3, 8, 8, noise=0.1, masked=0.0).corrupt(made.views[0], made.key)
    torch.testing.assert_close(seen[seen != 0], alone[seen != 0])


def test_what_is_hidden_says_nothing_of_the_noise() -> None:
    made = batch(16, samples=4000)
    noise = build(16, noise=0.25, masked=0.0).corrupt(made.views[0], made.key) - made.views[0]  # of variance 1
    hidden = build(16, noise=0.25, masked=0.5).corrupt(made.views[0], made.key) == 0
    for half in (slice(0, 8), slice(8, 16)):  # whose radius and whose angle the same draws would decide
        for inside in (hidden[:, half], ~hidden[:, half]):
            assert float(noise[:, half][inside].square().mean()) == pytest.approx(1.0, abs=0.06)
            assert abs(float(noise[:, half][inside].mean())) < 0.06


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_loss_is_the_mean_squared_error_from_the_clean_sample(shape: tuple[int, ...]) -> None:
    method, made = build(*shape, noise=0.1), batch(*shape)
    x = made.views[0]
    (loss,) = method.encode(made)
    shown = method.show(made)
    assert list(shown) == ["sample", "seen", "clean"]
    torch.testing.assert_close(shown["seen"], method.corrupt(x, made.key))
    pairs = zip(shown["clean"].flatten(1).tolist(), x.flatten(1).tolist(), strict=True)
    expected = [sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / len(p) for p, q in pairs]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12)
    assert float(method.compare(loss.detach())) == pytest.approx(sum(expected) / len(expected))


def test_what_is_drawn_does_not_depend_on_what_is_hidden() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8)
    x = made.views[0].clone().requires_grad_()
    drawn = method.show(made._replace(views=(x,)))["clean"]
    (slope,) = torch.autograd.grad(drawn.square().sum(), x)
    hidden = hidden_places(method, made.views[0], made.key)
    assert (slope[hidden] == 0).all() and (slope[~hidden] != 0).any(dim=0).all()


def test_corruption_is_of_the_sample_alone() -> None:
    method, made = build(3, 8, 8, noise=0.2), batch(3, 8, 8)
    whole = method.corrupt(made.views[0], made.key)
    torch.testing.assert_close(whole[2:4], method.corrupt(made.views[0][2:4], made.key[2:4]))


def test_a_narrow_code_is_linear_in_the_embedding_and_all_that_is_drawn_from() -> None:
    method, made = build(3, 8, 8, dim=2), batch(3, 8, 8)
    seen = method.corrupt(made.views[0], made.key)
    code = method.encoder(seen) @ method.bottleneck.weight.T + method.bottleneck.bias
    assert code.shape == (5, 2)
    torch.testing.assert_close(method.show(made)["clean"], method.decoder(code))


@pytest.mark.parametrize(
    ("noise", "masked", "hidden"), [(-0.1, 0.25, 16), (0.0, 0.0, 0), (0.0, 0.001, 0), (0.1, 1.0, 64), (0.1, -0.5, -32)]
)
def test_no_corruption_and_no_sense_are_refused(noise: float, masked: float, hidden: int) -> None:
    with pytest.raises(InputError, match=f"noise is {noise} and masked {masked}, {hidden} of 64 places: expected a"):
        build(1, 8, 8, noise=noise, masked=masked)


def test_words_are_refused() -> None:
    with pytest.raises(InputError, match="ids of 9 words"):
        Denoising(words(9, 4, width=16, depth=1, heads=2))
