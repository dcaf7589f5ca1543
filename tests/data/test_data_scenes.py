"""Composed scenes: boxes, masks and pixels against each other and against pictures whose look tells their class."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from twinlens.data.arrays import Part, from_arrays
from twinlens.data.load import load
from twinlens.data.scenes import THRESHOLD, compose, tight
from twinlens.errors import InputError

BRIGHTEST = 96


def pictures(x, y=None):
    x = np.asarray(x, dtype=np.uint8)
    return from_arrays("made", Part(x, None if y is None else np.asarray(y))).train


def levels(classes=5, side=8):
    """Pictures that fill their squares; the level says the class: 120, 140, ..."""
    return pictures([np.full((side, side), 120 + 20 * i) for i in range(classes)], range(classes))


@pytest.fixture(scope="module")
def digits():
    split = load("digits")
    assert split.test is not None
    return split


def objects(scenes):
    """Scene, box, label and whether the class is once in its scene, of every object."""
    for n in range(len(scenes)):
        labels = scenes.labels[n].tolist()
        for box, label in zip(scenes.boxes[n].long().tolist(), labels):
            if label >= 0:
                yield n, box, label, labels.count(label) == 1


def shares(scenes):
    """What two boxes of a scene share, of the smaller, by counting pixels."""
    for n in range(len(scenes)):
        drawn = []
        for x0, y0, x1, y1 in scenes.boxes[n, : int(scenes.counts[n])].long().tolist():
            drawn.append(torch.zeros(scenes.masks.shape[1:], dtype=torch.bool))
            drawn[-1][y0:y1, x0:x1] = True
        for i, one in enumerate(drawn):
            for other in drawn[:i]:
                yield int((one & other).sum()) / min(int(one.sum()), int(other.sum()))


@pytest.mark.parametrize("overlap", [0, 0.4])
def test_boxes_are_tight_around_what_is_seen(digits, overlap):
    scenes = compose(digits.train, 80, side=20, overlap=overlap)
    checked = 0
    for n, (x0, y0, x1, y1), label, once in objects(scenes):
        mask = scenes.masks[n] == label + 1
        assert mask[y0:y1, x0:x1].any()
        if once:
            rows, columns = mask.nonzero(as_tuple=True)
            assert [x0, y0, x1, y1] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            checked += 1
    assert checked > 100
    for n in range(80):  # and every pixel that is someone's lies in a box of its class
        for row, column in scenes.masks[n].nonzero().tolist():
            within = (scenes.boxes[n] > torch.tensor([column, row] * 2)) == torch.tensor([False, False, True, True])
            assert int(scenes.masks[n, row, column]) - 1 in scenes.labels[n][within.all(1)].tolist()


@pytest.mark.parametrize("overlap", [0, 0.25, 0.6])
def test_objects_overlap_at_most_by_the_share_that_is_stated(digits, overlap):
    scenes = compose(digits.train, 60, side=18, objects=(4, 4), overlap=overlap)
    found = list(shares(scenes))
    assert overlap * 0.7 <= max(found) <= overlap
    assert min(found) == 0
    assert int(scenes.counts.sum()) > 100
    whole = compose(levels(), 60, side=16, objects=(4, 4), scale=(1, 1), overlap=overlap)
    seen = [int((whole.masks[n] == label + 1).sum()) / 64 for n, _, label, once in objects(whole) if once]
    assert 1 - overlap <= min(seen) <= 1 - 0.7 * overlap
    assert max(seen) == 1


def test_no_object_is_hidden_by_several_together():
    strips = np.zeros((2, 8, 8), dtype=int)
    strips[0, 1:7, 1:7], strips[1, 1:7, 1:4] = 200, 255
    scenes = compose(pictures(strips, [0, 1]), 300, side=10, objects=(5, 5), scale=(1, 1), overlap=0.5)
    seen = [int((scenes.masks[n] == 1).sum()) for n, _, label, once in objects(scenes) if label == 0 and once]
    assert 18 <= min(seen) <= 24  # two narrow ones may hide half each, and so all
    assert max(seen) == 36


def test_tight_by_hand():
    owner = np.zeros((4, 5), dtype=np.int64)
    owner[1, 2:5], owner[3, 0], owner[2, 3] = 1, 2, 1
    assert tight(owner, 2).tolist() == [[2, 1, 5, 3], [0, 3, 1, 4]]


def test_the_foreground_of_pictures_on_black_is_what_is_above_the_threshold():
    ring = np.zeros((2, 8, 8), dtype=int)
    ring[:, 2:6, 2:6] = 200
    ring[:, 3, 3], ring[:, 3, 4] = THRESHOLD, THRESHOLD + 1
    ring[1] //= 2  # now at most 12 in its hole
    scenes = compose(pictures(ring, [0, 1]), 20, side=12, objects=(1, 1), scale=(1, 1))
    for n, (x0, y0, x1, y1), label, _ in objects(scenes):
        assert (x1 - x0, y1 - y0) == (4, 4)
        look = torch.from_numpy(ring[label, 2:6, 2:6])
        shown = look > THRESHOLD
        assert torch.equal(scenes.masks[n, y0:y1, x0:x1] == label + 1, shown)
        assert int((scenes.masks[n] > 0).sum()) == int(shown.sum()) == (15 if label == 0 else 14)
        pixels = scenes.pixels[n, ..., 0]
        assert torch.equal(pixels[y0:y1, x0:x1][shown].long(), look[shown])
        background = pixels[scenes.masks[n] == 0].float()
        assert background.max() < BRIGHTEST
        assert background.std() > 3
        assert (background < 3).sum() < 2  # it is seen through what is black in the picture
    assert set(scenes.labels.flatten().tolist()) == {0, 1}


def test_pictures_that_fill_their_squares_are_whole_and_bear_their_own_label():
    given = levels()
    given.pixels[:, 4, 4] = 0  # dark inside
    scenes = compose(given.subset(torch.tensor([3, 1, 4])), 40, side=24, scale=(1, 1), overlap=0)
    for n, (x0, y0, x1, y1), label, _ in objects(scenes):
        assert torch.equal(scenes.pixels[n, y0:y1, x0:x1], given.pixels[label])
        assert (scenes.masks[n, y0:y1, x0:x1] == label + 1).all()
    assert set(scenes.labels[scenes.labels >= 0].tolist()) == {1, 3, 4}
    assert scenes.classes == ("0", "1", "2", "3", "4")
    assert ((scenes.masks > 0).flatten(1).sum(1) == 64 * scenes.counts).all()


def test_scales_places_numbers_and_pictures_are_spread_over_all_there_are():
    scenes = compose(levels(), 300, side=80, objects=(1, 3))
    one = compose(levels(side=16), 300, side=40, objects=(1, 1))
    boxes = one.boxes[:, 0].long()
    width = boxes[:, 2] - boxes[:, 0]
    assert torch.equal(width, boxes[:, 3] - boxes[:, 1])
    assert set(width.tolist()) == set(range(12, 21))
    for low in (boxes[:, 0], boxes[:, 1]):
        share = low / (40 - width)
        assert (share.min(), share.max()) == (0, 1)
        assert float(share.mean()) == pytest.approx(0.5, abs=0.06)
    assert abs(np.corrcoef(boxes[:, 0], boxes[:, 1])[0, 1]) < 0.2
    assert one.labels.flatten().bincount().min() > 40
    assert set(scenes.counts.tolist()) == {1, 2, 3}
    assert scenes.counts.bincount()[1:].min() > 60


def test_what_scenes_hold(digits):
    scenes = compose(digits.train, 7, side=20, objects=(0, 3))
    assert len(scenes) == 7
    assert scenes.pixels.shape == (7, 20, 20, 1) and scenes.pixels.dtype == torch.uint8
    assert scenes.boxes.shape == (7, 3, 4) and scenes.boxes.dtype == torch.float32
    assert scenes.labels.shape == (7, 3) and scenes.labels.dtype == torch.int64
    assert scenes.masks.shape == (7, 20, 20) and scenes.masks.dtype == torch.int64
    assert (scenes.boxes[scenes.labels < 0] == 0).all()
    assert scenes.counts.tolist() == [int((row >= 0).sum()) for row in scenes.labels]
    assert scenes.name == "digits" and scenes.classes == digits.train.classes
    assert 0 in compose(digits.train, 30, side=20, objects=(0, 1)).counts.tolist()
    for row in scenes.labels.tolist():  # what there is comes first
        assert all(before >= 0 or after < 0 for before, after in pairwise(row))


def same(one, other):
    return [torch.equal(getattr(one, name), getattr(other, name)) for name in ("pixels", "boxes", "labels", "masks")]


def test_scenes_are_functions_of_pictures_number_and_seed(digits):
    scenes = compose(digits.train, 12, side=20, seed=3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert all(same(scenes, compose(digits.train, 12, side=20, seed=3)))
    assert torch.equal(torch.get_rng_state(), before)
    longer = compose(digits.train, 15, side=20, seed=3)
    assert torch.equal(longer.pixels[:12], scenes.pixels) and torch.equal(longer.boxes[:12], scenes.boxes)
    assert not any(same(scenes, compose(digits.train, 12, side=20, seed=4)))
    assert len({scene.numpy().tobytes() for scene in scenes.pixels}) == 12


def test_parts_of_one_data_set_share_neither_places_nor_backgrounds(digits):
    train, test = (compose(part, 20, side=20, seed=0) for part in (digits.train, digits.test))
    assert not any(torch.equal(one, other) for one, other in zip(train.boxes, test.boxes))
    shared = (train.masks == 0) & (test.masks == 0)
    assert (train.pixels[..., 0] == test.pixels[..., 0])[shared].float().mean() < 0.1


def test_pictures_of_colour_are_composed_in_colour(digits):
    grey = digits.train.with_channels(3)
    scenes = compose(grey, 5, side=20)
    assert scenes.pixels.shape == (5, 20, 20, 3)
    shown = scenes.masks > 0
    assert (scenes.pixels[shown] == scenes.pixels[shown][:, :1]).all()
    assert (scenes.pixels[~shown] != scenes.pixels[~shown][:, :1]).any()  # each channel has its own texture
    red = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    red[:, 0, 2:6, 2:6] = 90  # on black, bright in one channel alone
    masks = compose(pictures(red, [0, 0]), 3, side=16, scale=(1, 1), objects=(1, 1)).masks
    assert ((masks > 0).flatten(1).sum(1) == 16).all()


def test_what_shows_nothing_is_left_out():
    some = np.zeros((2, 8, 8), dtype=int)
    some[1, 3:5, 3:5] = 255
    scenes = compose(pictures(some, [0, 1]), 30, side=16, objects=(2, 2))
    assert set(scenes.labels.flatten().tolist()) == {-1, 1}
    assert set(scenes.counts.tolist()) == {0, 1, 2}
    full = compose(levels(), 5, side=8, objects=(4, 4), scale=(1, 1), overlap=0.25)  # room for one
    assert full.counts.tolist() == [1] * 5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"count": 0}, "^count = 0: expected 1 scene or more"),
        ({"side": 9}, "^side = 9: expected 10 or more, the side of the largest picture at scale 1.25"),
        ({"objects": (3, 2)}, r"^objects = \(3, 2\): expected the least and the largest number"),
        ({"objects": (0, 0)}, r"^objects = \(0, 0\)"),
        ({"objects": (-1, 2)}, r"^objects = \(-1, 2\)"),
        ({"scale": (0, 1)}, r"^scale = \(0, 1\)"),
        ({"scale": (2, 1)}, r"^scale = \(2, 1\)"),
        ({"overlap": 1}, "^overlap = 1: expected a share of 0 or more, below 1"),
        ({"overlap": -0.1}, "^overlap = -0.1"),
    ],
)
def test_settings_that_cannot_be_followed_are_named(settings, says):
    with pytest.raises(InputError, match=says):
        compose(levels(), **({"count": 2, "side": 16} | settings))


def test_pictures_without_labels_are_refused():
    with pytest.raises(InputError, match=r"^made has no labels: expected pictures"):
        compose(pictures(np.zeros((3, 8, 8))), 2, side=16)
