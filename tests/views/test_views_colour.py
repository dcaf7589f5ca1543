import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from twinlens.views.colour import colour_map, recolour, solarize


def pictures(count, low=0, high=256, channels=3, side=12, seed=0):
    x = np.random.default_rng(seed).integers(low, high, (count, side, side, channels), dtype=np.uint8)
    return torch.from_numpy(x)


def recoloured(x, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    """(N, H, W, C) uint8 -> (N, H, W, C) float64 grey levels."""
    planes = x.permute(0, 3, 1, 2).float()
    out = torch.empty_like(planes, memory_format=torch.contiguous_format)
    colour = torch.tensor([brightness, contrast, saturation, hue]).expand(len(x), 4)
    recolour(planes, *colour_map(colour, x.shape[3]), out)
    return (out.permute(0, 2, 3, 1).double().numpy() * 0.25 + 0.5) * 255


def pillow(picture):
    return Image.fromarray(picture.squeeze(-1).numpy())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3])
@pytest.mark.parametrize("name", ["Brightness", "Contrast"])
def test_brightness_and_contrast_are_pillows(name, factor, channels):
    x = pictures(2, 80, 170, channels)  # nothing here reaches the clamp
    for picture, ours in zip(x, recoloured(x, **{name.lower(): factor})):
        theirs = np.asarray(getattr(ImageEnhance, name)(pillow(picture)).enhance(factor)).reshape(ours.shape)
        assert np.abs(ours - theirs).max() <= 1.5  # Pillow rounds pixels, and the mean


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.2])
def test_saturation_is_pillows(factor):
    x = pictures(2, 90, 160)
    for picture, ours in zip(x, recoloured(x, saturation=factor)):
        assert np.abs(ours - np.asarray(ImageEnhance.Color(pillow(picture)).enhance(factor))).max() <= 1.5


def test_no_saturation_is_pillows_grey():
    x = pictures(4)
    for picture, ours in zip(x, recoloured(x, saturation=0.0)):
        assert np.ptp(ours, axis=2).max() < 1e-3
        assert np.abs(ours[..., 0] - np.asarray(pillow(picture).convert("L"))).max() <= 0.51


def turned(rgb, hue):
    """One colour's hue by rotation of its I and Q, in colorsys's YIQ."""
    y, i, q = colorsys.rgb_to_yiq(*rgb)
    angle = -2 * np.pi * hue
    i, q = np.cos(angle) * i - np.sin(angle) * q, np.sin(angle) * i + np.cos(angle) * q
    yiq = np.array([colorsys.rgb_to_yiq(*row) for row in np.eye(3)]).T
    return np.linalg.solve(yiq, [y, i, q])


@pytest.mark.parametrize("hue", [-0.2, -0.03, 0.1, 0.5])
def test_hue_turns_chroma(hue):
    x = pictures(1, 115, 140, side=6)
    ours = recoloured(x, hue=hue)[0].reshape(-1, 3)
    theirs = np.array([turned(rgb, hue) for rgb in x[0].reshape(-1, 3).double().numpy()])
    assert np.abs(ours - theirs).max() < 0.5  # colorsys has a luma of 0.30, 0.59, 0.11
    weights = [0.299, 0.587, 0.114]
    np.testing.assert_allclose(ours @ weights, x[0].reshape(-1, 3).double().numpy() @ weights, atol=1e-3)


def test_hue_by_hand():
    x = pictures(1, 115, 140)
    np.testing.assert_allclose(recoloured(x, hue=1.0), x, atol=1e-3)
    half = torch.from_numpy(recoloured(x, hue=0.5))
    np.testing.assert_allclose(half + x.double(), 2 * torch.from_numpy(recoloured(x, saturation=0.0)), atol=1e-3)
    grey = torch.full((1, 2, 2, 3), 77, dtype=torch.uint8)
    np.testing.assert_allclose(recoloured(grey, hue=0.2), 77, atol=1e-3)
    red = torch.tensor([150, 100, 100], dtype=torch.uint8).expand(1, 2, 2, 3)
    r, g, b = recoloured(red, hue=1 / 12)[0, 0, 0]
    assert r > g > b  # towards yellow


def test_the_matrix_is_the_four_steps_in_order():
    x, luma = pictures(3, 60, 150), np.array([0.299, 0.587, 0.114])
    y = x.double().numpy() * 1.2
    y = 0.7 * y + 0.3 * (y @ luma).mean((1, 2))[:, None, None, None]
    y = 0.5 * y + 0.5 * (y @ luma)[..., None]
    to_yiq = np.array([luma, [0.74, 0, -0.27] - 0.47 * luma, [0.48, 0, 0.41] - 0.89 * luma])
    c, s = np.cos(0.2 * np.pi), np.sin(0.2 * np.pi)
    y = y @ (np.linalg.inv(to_yiq) @ [[1, 0, 0], [0, c, s], [0, -s, c]] @ to_yiq).T
    np.testing.assert_allclose(recoloured(x, 1.2, 0.7, 0.5, 0.1), y, atol=2e-3)


def test_one_channel_has_no_chroma():
    x = pictures(2, channels=1)
    np.testing.assert_allclose(recoloured(x, saturation=0.3, hue=0.2), x, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_extremes_are_clamped_and_unchanged_ones_keep_their_place(channels):
    x = torch.tensor([0, 255], dtype=torch.uint8).repeat(2, 8, 4)[..., None].expand(-1, -1, -1, channels)
    np.testing.assert_allclose(recoloured(x), x, atol=1e-3)
    bright = recoloured(x, brightness=1.8, contrast=1.8)
    assert np.unique(bright.round(3)).tolist() == [0, 255]


def test_solarize_is_pillows():
    x = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    view = (x.float() / 255 - 0.5) / 0.25
    ours = (solarize(view[None], torch.tensor([True]))[0, 0] * 0.25 + 0.5) * 255
    np.testing.assert_allclose(ours, np.asarray(ImageOps.solarize(pillow(x[0]), threshold=128)), atol=1e-4)
    assert torch.equal(solarize(view[None], torch.tensor([False])), view[None])
