"""The decoder: any shape comes out, no sample knows another, and what cannot be drawn is refused."""

import pytest
import torch
from torch import nn

from twinlens.encoders.sequence import words
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.heads.decoder import Double, decoder, measured

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 8, 8), (3, 7, 9), (2, 64), (16,), (3, 27, 30), (1, 1, 1), (2, 3, 15, 14)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dim", [1, 20])
def test_an_embedding_becomes_a_view_of_the_shape(shape: tuple[int, ...], dim: int) -> None:
    network = decoder(dim, shape, width=8)
    z = torch.randn(4, dim, generator=torch.Generator().manual_seed(0))
    out = network(z)
    assert out.shape == (4, *shape) and out.isfinite().all()
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_samples_are_drawn_one_by_one_in_training_too() -> None:
    network = decoder(6, (3, 28, 30), width=8).double().train()
    z = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(network(z), torch.cat([network(row) for row in z.split(1)]))
    assert not list(network.buffers())


def test_pictures_grow_from_seven_cells_and_the_last_map_is_as_wide_as_asked() -> None:
    network = decoder(10, (3, 55, 28), width=16)
    linear = network[0]
    assert isinstance(linear, nn.Linear) and linear.out_features == 32 * 14 * 7  # of 55, 28, 14 and of 28, 14, 7
    maps = [layer for layer in network if isinstance(layer, Double)]
    found = [(up.conv.in_channels, up.conv.out_channels, up.size) for up in maps]
    assert found == [(32, 4 * 16, (28, 14)), (16, 4 * 3, (55, 28))]


def test_a_picture_of_224_is_drawn_from_seven_by_seven() -> None:
    maps = [layer for layer in decoder(2, (1, 224, 224), width=8) if isinstance(layer, Double)]
    assert [up.conv.in_channels for up in maps] == [128, 64, 32, 16, 8]


def test_doubling_deals_four_features_out_to_four_pixels() -> None:
    up, x = Double(2, 1, (5, 6)), torch.randn(1, 2, 3, 3)
    with torch.no_grad():
        dealt, out = up.conv(x), up(x)
    by_hand = [[float(dealt[0, 2 * (i % 2) + j % 2, i // 2, j // 2]) for j in range(6)] for i in range(5)]
    torch.testing.assert_close(out[0, 0], torch.tensor(by_hand))


def test_a_pixel_may_have_any_value() -> None:
    network = decoder(2, (1, 8, 8), width=8)
    last = network[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    with torch.no_grad():
        before = network(torch.zeros(1, 2))
        last.bias += 100
        torch.testing.assert_close(network(torch.zeros(1, 2)), before + 100)


@pytest.mark.parametrize(("dim", "width"), [(0, 32), (4, 0), (4, 12)])
def test_a_width_that_does_not_fit_the_norms_is_refused(dim: int, width: int) -> None:
    with pytest.raises(InputError, match=f"decoder of {dim} features and width {width}: expected 1 or more, and a mul"):
        decoder(dim, (1, 8, 8), width=width)


def test_words_cannot_be_drawn() -> None:
    encoder = vit(1, 8, patch=4, width=16, depth=1, heads=2)
    assert measured(encoder) is encoder and measured(nn.Linear(1, 1)) is not None
    with pytest.raises(InputError, match="views are ids of 9 words: expected numbers, such as pixels; take a method"):
        measured(words(9, 4, width=16, depth=1, heads=2))


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 64)], ids=str)
def test_hidden_layers_come_before_the_first_map(shape: tuple[int, ...]) -> None:
    network, plain = decoder(3, shape, width=8, hidden=12), decoder(12, shape, width=8)
    assert not any(isinstance(layer, nn.GroupNorm) for layer in network)
    first, second, later = network[0], network[2], list(network)[4:]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    assert [type(layer) for layer in later] == [type(layer) for layer in plain if not isinstance(layer, nn.GroupNorm)]
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    h = (z @ first.weight.T + first.bias).clamp(min=0)
    h = (h @ second.weight.T + second.bias).clamp(min=0)
    torch.testing.assert_close(network(z), nn.Sequential(*later)(h))


def test_hidden_layers_keep_the_size_of_what_passes_them() -> None:
    torch.manual_seed(0)
    network = decoder(64, (3, 28, 28), width=32, hidden=256)
    z = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in network[:-1]:
            z = layer(z)
            if isinstance(layer, nn.Linear):  # it doubles the mean square, of which ReLU takes half
                assert 1.2 < float(z.square().mean()) < 3 and bool((layer.bias == 0).all())
