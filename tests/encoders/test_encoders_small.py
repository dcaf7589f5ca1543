import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from twinlens.encoders.small import small


@pytest.mark.parametrize(("size", "grid"), [(8, 8), (28, 7), (32, 8), (33, 9), (56, 7), (64, 8), (224, 7)])
def test_the_stem_leaves_about_as_many_positions_of_any_view(size, grid):
    encoder = small(1, size, width=4)
    assert encoder.layers[0](torch.rand(2, 1, size, size)).shape == (2, 4, grid, grid)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 15, 28, 32, 64])
def test_any_view_gives_an_embedding(channels, size):
    encoder = small(channels, size, width=16)
    assert encoder(torch.rand(2, channels, size, size)).shape == (2, encoder.dim) == (2, 256)


def test_it_is_as_small_as_it_says():
    encoder, w = small(1, 28), 48
    with FlopCounterMode(display=False) as counter:
        encoder.eval()(torch.rand(1, 1, 28, 28))
    assert counter.get_total_flops() == 2 * (49 * 49 * w + 49 * 9 * w * w + 16 * 9 * w * 2 * w + 16 * 2 * w * w)
    assert round(counter.get_total_flops() / 1e6, 1) == 3.7


def test_the_layout_is_channels_last_even_for_one_channel():
    seen = []
    encoder = small(1, 28, width=16)
    encoder.layers[-1].register_forward_hook(lambda module, given, features: seen.append(features))
    encoder(torch.rand(2, 1, 28, 28))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_it_equals_its_definition():
    torch.manual_seed(0)
    encoder = small(3, 16, width=4).double().eval()
    for value in encoder.state_dict().values():
        if value.ndim == 1:
            value.uniform_(0.5, 1.5)
    view = torch.rand(2, 3, 16, 16, dtype=torch.float64)

    def layer(x, part, stride, padding):
        conv, norm, _ = part
        x = torch.nn.functional.conv2d(x, conv.weight, stride=stride, padding=padding)
        x = (x - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
        return (x * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)

    stem, residual, half, widen = encoder.layers
    x = layer(view, stem, 2, 1)
    x = x + layer(x, residual.layer, 1, 1)
    x = layer(layer(x, half, 2, 1), widen, 1, 0)
    assert x.shape[2:] == (4, 4)  # each place of the grid is one position here
    torch.testing.assert_close(encoder(view), x.flatten(1))


def test_width_scales_the_channels():
    assert [small(1, 28, width=w).dim for w in (16, 32, 64)] == [256, 512, 1024]
