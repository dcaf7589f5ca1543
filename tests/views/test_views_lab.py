import numpy as np
import pytest
import torch

from twinlens.views.lab import bins, lab, middles, srgb

KNOWN = {  # L, a, b of CIE 15 for sRGB under D65, as tables give them to a hundredth
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (255, 255, 255): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (119, 119, 119): (50.03, 0, 0),
}


def slowly(red, green, blue):
    """One colour, from the standards' own constants."""
    r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (red, green, blue))
    x = 0.4124 * r + 0.3576 * g + 0.1805 * b
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = 0.0193 * r + 0.1192 * g + 0.9505 * b
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else (903.3 * t + 16) / 116 for t in (x / 0.9505, y, z / 1.089))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def test_colours_known_by_hand():
    rgb = torch.tensor(list(KNOWN), dtype=torch.float64) / 255
    torch.testing.assert_close(lab(rgb), torch.tensor(list(KNOWN.values()), dtype=torch.float64), atol=0.02, rtol=0)


def test_many_colours_agree_with_a_slow_computation():
    rgb = torch.rand(300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2  # dark ones too
    expected = torch.tensor([slowly(*colour) for colour in rgb.tolist()], dtype=torch.float64)
    torch.testing.assert_close(lab(rgb), expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back(dtype):
    rgb = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=dtype)
    rgb[0, :, 0] *= 0.03  # below the knee
    found = lab(rgb)
    assert found.shape == rgb.shape and found.dtype == dtype
    torch.testing.assert_close(srgb(found), rgb, atol=1e-5 if dtype == torch.float32 else 1e-6, rtol=0)
    pixel = lab(rgb[1:, :, 3, 4])
    torch.testing.assert_close(found[1:, :, 3, 4], pixel)


def test_colours_that_are_none_become_the_nearest_in_each_channel():
    rgb = srgb(torch.tensor([[50.0, 200, 0], [120, 0, 0], [-20, 0, 0]]))
    assert (rgb >= 0).all() and (rgb <= 1).all() and rgb.isfinite().all()
    torch.testing.assert_close(rgb[1:], torch.tensor([[1.0] * 3, [0.0] * 3]))
    torch.testing.assert_close(rgb[0, 0], torch.tensor(1.0))


def test_bins_are_squares_of_ten_in_which_there_are_colours():
    found = bins()
    assert found.shape == (260, 2)
    assert (found % 10 == 0).all() and len(np.unique(found, axis=0)) == 260
    known = {tuple(pair) for pair in found.tolist()}
    assert {(0, 0), (80, 70), (-90, 80), (80, -110)} <= known  # grey, red, green and blue
    assert not {(100, 70), (-100, 0), (-50, -50)} & known
    rgb = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ab = lab(rgb)[:, 1:]
    own = (ab / 10).round() * 10
    assert np.mean([tuple(pair) in known for pair in own.tolist()]) > 0.999
    assert torch.equal(middles(ab), torch.from_numpy(found).double())
