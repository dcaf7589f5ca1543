import os
import shutil
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from twinlens.batch import Views
from twinlens.errors import InputError
from twinlens.random import fold, keys
from twinlens.views.image import ImageViews, Recipe, draw, render, travel

STRENGTHS = ["strong", "weak", "asymmetric"]


def batch(count, side=32, channels=3, seed=0):
    """Raw pictures of many true shapes, and their keys."""
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8))
    return (pixels, torch.from_numpy(rng.uniform(0.4, 2.5, count).astype(np.float32))), keys(
        seed, 0, torch.arange(count)
    )


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("channels", [1, 3])
def test_views_have_their_shapes_and_range(strength, channels):
    raw, key = batch(6, 40, channels)
    views = ImageViews(size=24, small_size=10).create(raw, key, Views(3, 2, strength))
    assert [view.shape for view in views] == [(6, channels, 24, 24)] * 3 + [(6, channels, 10, 10)] * 2
    for view in views:
        assert view.dtype == torch.float32
        assert view.is_contiguous()
        assert view.isfinite().all()
        assert view.abs().max() <= 2
    assert not torch.equal(views[0], views[2])


@pytest.mark.parametrize(("side", "size", "channels", "count"), [(32, 32, 3, 64), (28, 32, 1, 64), (72, 64, 3, 8)])
def test_a_view_is_the_same_to_the_bit_whatever_the_batch(side, size, channels, count):
    (pixels, aspect), key = batch(count, side, channels)
    maker = ImageViews(size=size)
    whole = maker.create((pixels, aspect), key, Views(2, 1, "asymmetric"))
    for few, until in ((1, 8), (7, count), (32, count)):
        for part in torch.arange(min(until, count)).split(few):
            views = maker.create((pixels[part], aspect[part]), key[part], Views(2, 1, "asymmetric"))
            assert all(torch.equal(view[part], piece) for view, piece in zip(whole, views))


def test_chunks_do_not_show(monkeypatch):
    raw, key = batch(9)
    whole = ImageViews().create(raw, key, Views())
    monkeypatch.setattr("twinlens.views.image._WORK", {"cpu": 2 * 16 * 32 * 32 * 3})
    assert all(torch.equal(a, b) for a, b in zip(whole, ImageViews().create(raw, key, Views())))


@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.5])
def test_the_clean_view_is_the_central_square_of_the_true_picture(aspect):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    true = coarse.resize((int(64 * max(aspect, 1)), int(64 * max(1 / aspect, 1))), Image.Resampling.BICUBIC)
    squashed = torch.from_numpy(np.asarray(true.resize((64, 64), Image.Resampling.BILINEAR)).copy())
    view = ImageViews(size=32).clean((squashed[None], torch.tensor([aspect])))
    left, top = (true.width - 64) / 2, (true.height - 64) / 2
    direct = true.resize((32, 32), Image.Resampling.BILINEAR, box=(left, top, left + 64, top + 64))
    ours = (view[0].permute(1, 2, 0).numpy() * 0.25 + 0.5) * 255
    assert np.abs(ours - np.asarray(direct)).mean() < (0.6 if aspect == 1 else 6)  # the squash lost detail
    if aspect != 1:
        uncut = np.asarray(true.resize((32, 32), Image.Resampling.BILINEAR))
        assert np.abs(ours - uncut).mean() > 20


def test_settings_without_effect_give_the_clean_view():
    (pixels, _), key = batch(5)
    raw = (pixels, torch.ones(5))
    maker = ImageViews(min_scale=1.0, flip=0, jitter_share=0, grey=0, blur=0, solarize=0)
    for strength in STRENGTHS:
        for view in maker.create(raw, key, Views(2, 0, strength)):
            torch.testing.assert_close(view, maker.clean(raw), atol=1e-5, rtol=0)


def test_flip_alone_gives_the_mirror_of_the_clean_view():
    (pixels, _), key = batch(5)
    raw = (pixels, torch.ones(5))
    maker = ImageViews(min_scale=1.0, flip=1, jitter=0, grey=0, blur=0)
    torch.testing.assert_close(maker.create(raw, key, Views())[0], maker.clean(raw).flip(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay_so_in_weak_views(value):
    raw = (torch.full((8, 32, 32, 3), value, dtype=torch.uint8), torch.ones(8))
    view = ImageViews().create(raw, batch(8)[1], Views(1, 0, "weak"))[0]
    torch.testing.assert_close(view, torch.full_like(view, 4 * value / 255 - 2), atol=1e-5, rtol=0)


def frequent(happened, share):
    """Whether counts agree with a share: within what a binomial gives 999 times of 1000."""
    return stats.binomtest(int(happened.sum()), len(happened), share).pvalue > 1e-3


def test_shares_and_strengths_are_those_of_the_recipe():
    count = 6000
    recipe = Recipe(224, (0.08, 1.0), flip=0.5, jitter=1.0, jitter_share=0.8, grey=0.2, blur=0.5, solarize=0.3)
    changes = draw(batch(count)[1], torch.ones(count), recipe)
    brightness, contrast, saturation, hue = changes.colour.double().unbind(1)
    coloured, jittered = saturation > 0, brightness != 1
    assert frequent(changes.flip, 0.5)
    assert frequent(jittered, 0.8)
    assert frequent(~coloured, 0.2)
    assert frequent(changes.solarize, 0.3)
    assert torch.equal(jittered, hue != 0)
    for amount, low, high in ((brightness, 0.2, 1.8), (contrast, 0.2, 1.8), (hue, -0.2, 0.2)):
        assert stats.kstest(amount[jittered].numpy(), "uniform", args=(low, high - low)).pvalue > 0.01
    kept = saturation[jittered & coloured].numpy()
    assert stats.kstest(kept, "uniform", args=(0.2, 1.6)).pvalue > 0.01
    assert abs(np.corrcoef(brightness[jittered], contrast[jittered])[0, 1]) < 0.05


def test_blur_is_of_a_tenth_to_two_pixels_of_224():
    count = 40_000
    kernel = draw(batch(count, 1)[1], torch.ones(count), Recipe(224, (0.08, 1.0), flip=0.5, blur=0.5)).kernel.double()
    ratio = kernel[:, 7] / kernel[:, 6]  # of the neighbour's weight to the centre's: exp(-1 / (2 sigma^2))
    sigma = (-0.5 / ratio[ratio > 0].log()).sqrt()
    least = (2 * np.log(1e6)) ** -0.5  # below, a neighbour weighs under a millionth, which counts as nothing
    assert frequent(ratio > 0, 0.5 * (2 - least) / (2 - 0.1))
    assert stats.kstest(sigma.numpy(), "uniform", args=(least, 2 - least)).pvalue > 0.01
    assert draw(batch(2)[1], torch.ones(2), Recipe(224, (0.08, 1.0), flip=0.5)).kernel is None


def test_the_strengths_are_those_of_the_papers():
    maker = ImageViews(size=224, small_size=96, jitter=1.0)
    strong = Recipe(224, (0.08, 1.0), 0.5, 1.0, 0.8, 0.2, 0.5, 0.0)
    assert maker.recipes(Views(2, 1)) == [strong, strong, strong._replace(size=96, area=(0.05, 0.14))]
    weak = Recipe(224, (0.2, 1.0), 0.5)
    assert maker.recipes(Views(1, 1, "weak")) == [weak, weak._replace(size=96, area=(0.05, 0.14))]
    first = strong._replace(blur=1.0, chroma=0.5)
    second = first._replace(blur=0.1, solarize=0.2)
    assert maker.recipes(Views(3, 0, "asymmetric")) == [first, second, first]
    assert maker.recipes(Views(1, 0, "asymmetric")) == [first]


@pytest.mark.parametrize(("size", "small"), [(224, 96), (32, 16), (96, 48), (28, 16)])
def test_small_views_are_three_sevenths_in_whole_patches(size, small):
    assert ImageViews(size=size).recipes(Views(0, 1))[0].size == small


MOVING = Recipe(32, (0.25, 0.5), 0.5)


def places(box):
    """Where boxes lie, as a share of the room they have along each axis."""
    return box[:, :2] / (1 - box[:, 2:])


def test_a_camera_moves_evenly_from_box_to_box():
    _, key = batch(500)
    changes = travel(key, torch.ones(500), MOVING, 5)
    boxes = torch.stack([each.box for each in changes])  # (5, 500, 4)
    torch.testing.assert_close(boxes.diff(dim=0), (boxes[4] - boxes[0]).expand(4, -1, -1) / 4, atol=1e-6, rtol=0)
    for box in (boxes[0], boxes[4]):
        area = box[:, 2] * box[:, 3]
        assert 0.25 <= area.min() < 0.27 and 0.48 < area.max() <= 0.5 + 1e-6
        assert (box >= 0).all() and (box[:, :2] + box[:, 2:] <= 1 + 1e-6).all()
        assert all(stats.kstest(place.numpy(), "uniform").pvalue > 1e-3 for place in places(box).T)
    moved = (places(boxes[4]) - places(boxes[0])).abs()
    assert 0.25 - 1e-5 <= moved.min() < 0.26 and 0.74 < moved.max() <= 0.75 + 1e-5
    area = (boxes[:, :, 2] * boxes[:, :, 3]).numpy()
    assert abs(np.corrcoef(area[0], area[4])[0, 1]) < 0.15
    for drawn in (area[0], area[4], boxes[0, :, 0] / (1 - boxes[0, :, 2])):  # flips are drawn apart from boxes
        assert abs(np.corrcoef(changes[0].flip, drawn)[0, 1]) < 0.15
    assert all(torch.equal(each.flip, changes[0].flip) for each in changes) and frequent(changes[0].flip, 0.5)
    assert all(torch.equal(each.colour, torch.tensor([1.0, 1, 1, 0]).expand(500, -1)) for each in changes)
    assert all(each.kernel is None and each.solarize is None for each in changes)


@pytest.mark.parametrize(
    ("least", "area"), [(0.08, (0.25, 0.5)), (0.3, (0.3, 0.6)), (0.5, (0.5, 0.9)), (1.0, (0.75, 0.9))]
)
def test_how_much_a_moving_view_shows_follows_the_least_area(least, area):
    raw, key = batch(8)
    made = ImageViews(size=16, min_scale=least).create(raw, key, Views(large=2, strength="weak", moving=True))
    boxes = travel(fold(key, 0), raw[1], Recipe(16, area, 0.5), 2)
    assert all(torch.equal(view, render(raw[0], box, 16)) for view, box in zip(made, boxes, strict=True))


def test_one_moment_is_the_start_and_wide_pictures_stand_still():
    _, key = batch(4)
    (only,) = travel(key, torch.ones(4), MOVING, 1)
    assert torch.equal(only.box, travel(key, torch.ones(4), MOVING, 3)[0].box)
    wide = travel(key, torch.full((4,), 9.0), MOVING, 3)
    assert torch.equal(wide[0].box, wide[2].box)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_what_a_moving_camera_sees_is_moved_and_not_recoloured(strength):
    ramp = torch.arange(0, 256, 4)[:, None] / 2 + torch.arange(0, 256, 4) / 2  # of 0 ... 252, from corner to corner
    pixels = ramp[None, :, :, None].expand(40, -1, -1, 3).contiguous().byte()
    key = batch(40)[1]
    views = ImageViews(size=16, flip=0).create((pixels, torch.ones(40)), key, Views(4, 1, strength, moving=True))
    assert [view.shape[-1] for view in views] == [16, 16, 16, 16, 16]
    level = torch.stack([view.mean((1, 2, 3)) for view in views[:4]])
    torch.testing.assert_close(level.diff(dim=0), (level[3] - level[0]).expand(3, -1) / 3, atol=0.03, rtol=0)
    grey = torch.stack(views[:4])
    assert torch.equal(grey[:, :, 0], grey[:, :, 1])
    assert (level[3] - level[0]).abs().median() > 0.1
    mirrored = ImageViews(size=16, flip=1).create((pixels, torch.ones(40)), key, Views(4, 0, strength, moving=True))
    for view, mirror in zip(views, mirrored):
        torch.testing.assert_close(view.flip(3), mirror, atol=1e-4, rtol=0)


def test_a_moving_view_is_the_same_to_the_bit_whatever_the_batch():
    (pixels, aspect), key = batch(24)
    asked = Views(5, 1, "weak", moving=True)
    whole = ImageViews().create((pixels, aspect), key, asked)
    for part in torch.arange(24).split(7):
        views = ImageViews().create((pixels[part], aspect[part]), key[part], asked)
        assert all(torch.equal(view[part], piece) for view, piece in zip(whole, views))


def test_byol_jitters_saturation_half_as_far():
    recipe = ImageViews(grey=0, jitter_share=1).recipes(Views(2, 0, "asymmetric"))[0]
    spread = (draw(batch(2000)[1], torch.ones(2000), recipe).colour - torch.tensor([1, 1, 1, 0])).abs().amax(0)
    torch.testing.assert_close(spread, torch.tensor([0.4, 0.4, 0.2, 0.1]), atol=0.003, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [{"flip": 1.5}, {"grey": -0.1}, {"size": 0}, {"min_scale": 0.0}, {"small_scale": (0.5, 0.1)}, {"jitter": -1.0}],
)
def test_settings_that_cannot_work_are_named(settings):
    with pytest.raises(InputError, match=str(next(iter(settings.values()))).split(",")[0].strip("(")):
        ImageViews(**settings)


def test_every_setting_is_documented():
    for name in set(get_type_hints(ImageViews.__init__)) - {"return"}:
        assert f"\n        {name}: " in ImageViews.__doc__


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.skipif("TWINLENS_SLOW" not in os.environ, reason="compiling takes minutes: set TWINLENS_SLOW")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_views_are_the_same():
    raw, key = batch(4, 8)
    maker = ImageViews(size=8)
    compiled = torch.compile(maker.create, fullgraph=True)(raw, key, Views(1))
    torch.testing.assert_close(compiled[0], maker.create(raw, key, Views(1))[0], atol=1e-4, rtol=0)
