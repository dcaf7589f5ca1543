"""The autoencoder: its error by loop, its narrow code, and the way back."""

import pytest
import torch
from drawing import SHAPES, Flat, batch

from twinlens.encoders.contract import shape_of
from twinlens.encoders.sequence import words
from twinlens.errors import InputError
from twinlens.method import Decodes, Generates, Shows
from twinlens.methods.autoencoder import Autoencoder


def build(*shape: int, dim: int = 3) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(Flat(*shape), dim=dim, decoder_width=8).double()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_loss_of_a_sample_is_the_mean_of_its_squared_errors(shape: tuple[int, ...]) -> None:
    method, made = build(*shape), batch(*shape)
    x = made.views[0]
    (loss,) = method.encode(made)
    y = method.decode(method.code(x))
    expected = [
        sum((a - b) ** 2 for a, b in zip(p.flatten().tolist(), q.flatten().tolist(), strict=True)) / p.numel()
        for p, q in zip(y, x, strict=True)
    ]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12)
    assert float(method.compare(loss.detach())) == pytest.approx(sum(expected) / len(expected))


def test_the_code_is_linear_in_the_embedding_and_as_narrow_as_asked() -> None:
    method = build(1, 28, 28, dim=2)
    x = batch(1, 28, 28).views[0]
    expected = method.encoder(x) @ method.bottleneck.weight.T + method.bottleneck.bias
    torch.testing.assert_close(method.code(x), expected)
    assert method.code(x).shape == (5, 2)


def test_what_it_draws_depends_on_the_code_alone() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8)
    with torch.no_grad():
        method.bottleneck.weight.zero_()
    shown = method.show(made)
    assert list(shown) == ["sample", "reconstruction"] and torch.equal(shown["sample"], made.views[0])
    drawn = shown["reconstruction"]
    torch.testing.assert_close(drawn, drawn[:1].expand_as(drawn))


def test_samples_count_one_by_one_and_no_key_counts() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8)
    (whole,) = method.encode(made)
    (last,) = method.encode(made._replace(views=(made.views[0][3:],), key=made.key[:2]))
    torch.testing.assert_close(whole[3:], last)


def test_it_goes_back_but_draws_nothing_at_random() -> None:
    method = build(16)
    assert isinstance(method, Decodes) and isinstance(method, Shows) and not isinstance(method, Generates)
    assert shape_of(method.encoder) == (16,)


def test_it_learns_what_fits_into_the_code() -> None:
    method = build(16, dim=1)
    made = batch(16, samples=32)
    line = torch.linspace(-1, 1, 32).double()[:, None] * torch.linspace(-2, 2, 16).double()
    made = made._replace(views=(line,))
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        loss = method.compare(*method.encode(made))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.02 * losses[0]


def test_words_are_refused() -> None:
    with pytest.raises(InputError, match="ids of 9 words"):
        Autoencoder(words(9, 4, width=16, depth=1, heads=2))
