import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import ndimage, stats

from twinlens.random import keys, uniform
from twinlens.views.resample import DRAWS, _tiling, central_box, gaussian, locate, random_box
from twinlens.views.resample import resize as resize_at

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
UP = torch.tensor([False])


def draws(count, seed=0):
    return uniform(keys(seed, 0, torch.arange(count)), DRAWS)


def pictures(count, side, channels, seed=0):
    """Noise over a smooth picture: both what antialiasing removes and what it keeps."""
    noise = torch.from_numpy(np.random.default_rng(seed).integers(0, 128, (count, side, side, channels)))
    ramp = torch.linspace(0, 127, side)[:, None, None] * torch.linspace(0, 1, side)[:, None]
    return (noise + ramp).to(torch.uint8)


def resize(pixels, box, size, flip, kernel=None):
    reach = 0 if kernel is None else kernel.shape[1] // 2
    return resize_at(pixels, locate(box, flip, pixels.shape[1], size, reach), size, kernel)


def unflipped(count):
    return torch.zeros(count, dtype=torch.bool)


def pillow(picture, box, size):
    image = Image.fromarray(picture.squeeze(-1).numpy())
    left, top, wide, high = (float(x) for x in box * picture.shape[0])
    side = picture.shape[0]
    corners = (left, top, min(left + wide, side), min(top + high, side))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=corners)).reshape(size, size, -1)


@pytest.mark.parametrize(
    ("side", "channels", "size", "area"),
    [
        (32, 3, 32, (0.08, 1.0)),
        (28, 1, 32, (0.08, 1.0)),
        (64, 3, 16, (0.05, 0.14)),
        (256, 3, 224, (0.08, 1.0)),  # several tiles
        (160, 1, 97, (0.08, 1.0)),  # the last tile hangs over
        (100, 3, 40, (0.9, 1.0)),
        (16, 3, 96, (0.3, 1.0)),
    ],
)
def test_resize_is_pillows(side, channels, size, area):
    x, box = pictures(4, side, channels), random_box(draws(4), torch.ones(4), area)
    ours = resize(x, box, size, unflipped(4))
    assert ours.shape == (4, channels, size, size)
    assert ours.dtype == torch.float32
    for picture, corners, view in zip(x, box, ours):
        difference = np.abs(view.permute(1, 2, 0).numpy() - pillow(picture, corners, size))
        assert difference.mean() <= 0.6  # Pillow rounds to whole grey levels, twice
        assert difference.max() <= 1.6


def test_resize_by_hand():
    up = resize(torch.tensor([0, 100], dtype=torch.uint8).expand(2, 2)[None, ..., None], WHOLE, 4, UP)
    assert torch.equal(up[0, 0, 1], torch.tensor([0.0, 25, 75, 100]))
    row = torch.tensor([8, 16, 0, 0, 0, 0, 0, 80], dtype=torch.uint8)
    down = resize(row.expand(8, 8)[None, ..., None], WHOLE, 4, UP)
    # weights 1 3 3 1 of eight; at the border one tap is missing: 3 3 1 of seven
    torch.testing.assert_close(down[0, 0, 0], torch.tensor([72 / 7, 2, 0, 240 / 7]))


def test_the_whole_picture_at_its_own_size_is_itself():
    x = pictures(2, 48, 3)
    assert torch.equal(resize(x, WHOLE.expand(2, 4), 48, unflipped(2)), x.permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_plain_picture_stays_plain(value):
    x = torch.full((16, 64, 64, 1), value, dtype=torch.uint8)
    box, kernel = random_box(draws(16), torch.ones(16), (0.08, 1.0)), gaussian(torch.linspace(0, 3, 16), 5)
    for size in (24, 96):
        view = resize(x, box, size, unflipped(16), kernel)
        torch.testing.assert_close(view, torch.full_like(view, value), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("side", "size"), [(32, 32), (64, 48), (128, 97)])
def test_a_flip_is_the_mirror_image(side, size):
    x, box = pictures(8, side, 3), random_box(draws(8), torch.ones(8), (0.08, 1.0))
    plain, mirrored = resize(x, box, size, unflipped(8)), resize(x, box, size, ~unflipped(8))
    if size <= 32:  # one tile: the same sums in the same order
        assert torch.equal(mirrored, plain.flip(3))
    torch.testing.assert_close(mirrored, plain.flip(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("side", "size", "reach"), [(32, 32, 1), (64, 48, 7), (96, 96, 6)])
def test_blur_is_direct_convolution(side, size, reach):
    x, box = pictures(4, side, 3), random_box(draws(4), torch.ones(4), (0.08, 1.0))
    sigma = torch.tensor([0.0, 0.1, 0.8, reach / 3])
    sharp = resize(x, box, size, unflipped(4)).double().numpy()
    blurred = resize(x, box, size, unflipped(4), gaussian(sigma, reach))
    for before, after, s in zip(sharp, blurred, sigma.tolist()):
        weight = np.array([math.exp(-(d * d) / (2 * s * s)) if s else float(d == 0) for d in range(-reach, reach + 1)])
        for axis in (1, 2):
            before = ndimage.convolve1d(before, weight / weight.sum(), axis=axis, mode="nearest")
        np.testing.assert_allclose(after.numpy(), before, atol=2e-3)
    assert np.abs(blurred[0].numpy() - sharp[0]).max() == 0


def test_blur_is_about_pillows():
    x = pictures(1, 96, 3)
    blurred = resize(x, WHOLE, 96, UP, gaussian(torch.tensor([2.0]), 6))[0].permute(1, 2, 0).numpy()
    theirs = np.asarray(Image.fromarray(x[0].numpy()).filter(ImageFilter.GaussianBlur(2.0)))
    assert np.abs(blurred - theirs).mean() < 1.5  # theirs is a chain of box filters


def test_a_gaussian_by_hand():
    torch.testing.assert_close(gaussian(torch.tensor([1.0]), 1), torch.tensor([[0.27406862, 0.45186276, 0.27406862]]))
    assert torch.equal(gaussian(torch.tensor([0.0]), 2), torch.tensor([[0.0, 0, 1, 0, 0]]))


def test_a_tile_reads_only_its_band():
    assert _tiling(1024, 224, 0) == (7, 32, 151)
    assert _tiling(256, 224, 6) == (7, 32, 52)
    assert _tiling(32, 32, 1) == (1, 32, 32)
    places = locate(WHOLE, UP, 1024, 224)
    assert places.first[0, 0].tolist() == [0, 144, 290, 437, 583, 729, 873]


def uniformity(values, low, high):
    return stats.kstest(values.double().numpy(), "uniform", args=(low, high - low)).pvalue


@pytest.mark.parametrize(("aspect", "area"), [(1.0, (0.08, 0.5)), (2.0, (0.05, 0.35)), (0.4, (0.05, 0.14))])
def test_boxes_that_always_fit_are_uniform_in_area_shape_and_place(aspect, area):
    left, top, width, height = random_box(draws(8000), torch.full((8000,), aspect), area).double().unbind(1)
    assert uniformity(width * height, *area) > 0.01
    assert uniformity((width * aspect / height).log(), math.log(3 / 4), math.log(4 / 3)) > 0.01
    across, down = left / (1 - width), top / (1 - height)
    assert uniformity(across, 0, 1) > 0.01
    assert uniformity(down, 0, 1) > 0.01
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.04


def redrawn(rng, aspect, area):
    """Area and shape of one box by the rule itself: redraw up to ten times, then the central box."""
    for _ in range(10):
        share, shape = rng.uniform(*area), math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        if share * aspect * shape <= aspect**2 and share * aspect / shape <= 1:
            return share, shape
    shape = min(max(aspect, 3 / 4), 4 / 3)
    width, height = (aspect, aspect / shape) if shape > aspect else (shape, 1)
    return width * height / aspect, shape


@pytest.mark.parametrize("aspect", [1.0, 1.5, 0.5, 3.0])
def test_boxes_are_redrawn_as_the_rule_says(aspect):
    rng = np.random.default_rng(0)
    share, shape = np.array([redrawn(rng, aspect, (0.08, 1.0)) for _ in range(4000)]).T
    box = random_box(draws(4000), torch.full((4000,), aspect), (0.08, 1.0)).double()
    for ours, theirs in ((box[:, 2] * box[:, 3], share), (box[:, 2] / box[:, 3] * aspect, shape)):
        assert stats.ks_2samp(ours.numpy().round(4), theirs.round(4)).pvalue > 0.01  # central boxes are all alike
    assert (box[:, :2] >= 0).all()
    assert (box[:, :2] + box[:, 2:] <= 1 + 1e-6).all()


def test_where_no_box_fits_the_largest_central_one_is_taken():
    wide, tall = random_box(draws(2), torch.tensor([10.0, 0.1]), (0.9, 1.0))
    torch.testing.assert_close(wide, torch.tensor([13 / 30, 0, 2 / 15, 1]))  # 4:3 of a picture of 10:1
    torch.testing.assert_close(tall, torch.tensor([0, 13 / 30, 1, 2 / 15]))


def test_the_central_box_is_square_in_the_true_picture():
    box = central_box(torch.tensor([1.0, 2.0, 0.5]))
    assert torch.equal(box, torch.tensor([[0.0, 0, 1, 1], [0.25, 0, 0.5, 1], [0, 0.25, 1, 0.5]]))
