import pytest
import torch
from torch.nn import functional as F

from twinlens.encoders.burgess import burgess


@pytest.mark.parametrize(("size", "side", "layers"), [(8, 4, 1), (28, 7, 2), (32, 4, 3), (33, 4, 3), (64, 4, 4)])
def test_convolutions_halve_until_about_four_positions_are_left(size, side, layers):
    encoder = burgess(1, size, width=4)
    assert encoder.convolutions(torch.rand(2, 1, size, size)).shape == (2, 4, side, side)
    assert len(encoder.convolutions) == 2 * layers


def test_it_equals_its_definition():
    torch.manual_seed(0)
    encoder, view = burgess(3, 16, width=4, connected=8).double(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    x = view
    for layer in encoder.convolutions[::2]:
        x = F.conv2d(x, layer.weight, layer.bias, stride=2, padding=1).clamp(min=0)
    first, second = encoder.connected[1], encoder.connected[3]
    x = (x.flatten(1) @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(encoder(view), (x @ second.weight.T + second.bias).clamp(min=0))


def test_no_sample_knows_another_in_training_either():
    encoder, view = burgess(1, 12, width=4).double().train(), torch.rand(5, 1, 12, 12, dtype=torch.float64)
    torch.testing.assert_close(encoder(view), torch.cat([encoder(one) for one in view.split(1)]))


def test_at_64_pixels_it_has_the_layers_of_the_paper():
    shapes = [tuple(p.shape) for p in burgess(1, 64).parameters() if p.ndim > 1]
    assert shapes == [(32, 1, 4, 4), *[(32, 32, 4, 4)] * 3, (256, 512), (256, 256)]
