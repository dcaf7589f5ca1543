"""The drawn pictures: what each factor does, against shapes filled point by point, and that no two are alike."""

from hashlib import md5
from itertools import product

import numpy as np
import pytest
import torch

from twinlens.data import factors
from twinlens.data.factors import COLOURS, COMBINATIONS, NAMES, SHAPES, SIZES, draw, parts, sample
from twinlens.data.load import load
from twinlens.errors import InputError

ELLIPSE, HEART, TRIANGLE = range(3)
RED = 0


def one(shape=HEART, colour=RED, size=3, rotation=0, x=4, y=4, side=32):
    return draw(np.array([[shape, colour, size, rotation, x, y]]), side=side)[0].astype(float)


@pytest.fixture(scope="module")
def every():
    """Every shape, size, rotation and place, in red: (9216, 32, 32)."""
    values = np.array(list(product(*(range(1 if name == "colour" else n) for name, n in zip(NAMES, SIZES)))))
    pictures = draw(values)
    assert not pictures[..., 1:].any()
    return values, pictures[..., 0]


def test_no_two_combinations_look_alike(every):
    pictures = every[1]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures) == COMBINATIONS // len(COLOURS)
    assert (pictures.max(axis=(1, 2)) == 255).all()  # a pixel of the pure colour in each, so colours never coincide
    pure = {tuple(one(colour=colour).max(axis=(0, 1))) for colour in range(len(COLOURS))}
    assert pure == set(product((0, 255), repeat=3)) - {(0, 0, 0), (255, 255, 255)}


@pytest.mark.parametrize("column", [0, 2, 3, 4, 5])
def test_the_next_value_of_a_factor_moves_more_than_a_pixel(every, column):
    size = [n if name != "colour" else 1 for name, n in zip(NAMES, SIZES)]
    grid = every[1].reshape(*size, -1).astype(float)
    moved = np.abs(np.diff(grid, axis=column)).sum(axis=-1) / 255
    assert moved.min() > 1
    if column == 3:  # rotation is not closed: the last step is not next to the first for heart and triangle
        ends = np.abs(grid[:, :, :, -1] - grid[:, :, :, 0]).sum(axis=-1) / 255
        assert ends[[HEART, TRIANGLE]].min() > moved[[HEART, TRIANGLE]].min()
        assert ends.min() > 1


def test_shapes_lie_inside_the_picture(every):
    pictures = every[1]
    assert not pictures[:, [0, -1]].any()
    assert not pictures[:, :, [0, -1]].any()


def inside(shape, u, v):
    """Whether a point, right and up in radii, is in the shape: from what the shapes are, without distances."""
    if shape == ELLIPSE:
        return u**2 + 4 * v**2 < 1
    if shape == TRIANGLE:
        a, b, c = np.array([0, 1]), np.array([-0.6, -0.8]), np.array([0.6, -0.8])
        turns = [(q[0] - p[0]) * (v - p[1]) - (q[1] - p[1]) * (u - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        return np.all(np.array(turns) > 0, axis=0)
    x, y = 0.63 * u, 0.63 * (v + 1)
    square = np.abs(x) + np.abs(y - 0.5) < 0.5
    discs = [(x - c) ** 2 + (y - 0.75) ** 2 < 0.125 for c in (-0.25, 0.25)]
    return square | discs[0] | discs[1]


@pytest.mark.parametrize("shape", range(3))
@pytest.mark.parametrize(("size", "rotation", "x", "y"), [(0, 0, 0, 7), (3, 5, 3, 2), (2, 11, 7, 0), (1, 6, 5, 4)])
def test_pixels_are_covered_as_by_a_shape_filled_point_by_point(shape, size, rotation, x, y):
    fine = (np.arange(32 * 16) + 0.5) / (32 * 16)
    columns, rows = np.meshgrid(fine, fine)
    radius, angle = 0.12 + 0.03 * size, np.deg2rad(15 * rotation)
    dx, dy = columns - (0.25 + x / 14), (0.25 + y / 14) - rows
    turned = (dx + 1j * dy) * np.exp(-1j * angle) / radius
    expected = inside(shape, turned.real, turned.imag).reshape(32, 16, 32, 16).mean(axis=(1, 3))
    cover = one(shape, RED, size, rotation, x, y)[..., 0] / 255
    most, all_, area = ((0.1, 0.03, 0.025), (0.25, 0.03, 0.025), (0.4, 0.08, 0.06))[shape]  # a distance rounds corners
    assert np.abs(cover - expected).max() < most
    assert np.abs(cover - expected).sum() < all_ * expected.sum()
    assert cover.sum() == pytest.approx(expected.sum(), rel=area)


def centre(picture):
    rows, columns = np.indices(picture.shape[:2])
    weight = picture.sum(axis=2)
    return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()


def test_what_each_factor_does_by_hand():
    step = 32 / 14
    assert np.subtract(centre(one(ELLIPSE, x=5)), centre(one(ELLIPSE, x=4))) == pytest.approx((step, 0), abs=0.03)
    assert np.subtract(centre(one(ELLIPSE, y=5)), centre(one(ELLIPSE, y=4))) == pytest.approx((0, step), abs=0.03)
    assert one(ELLIPSE, size=3).sum() / one(ELLIPSE, size=0).sum() == pytest.approx((0.21 / 0.12) ** 2, rel=0.02)
    heart = one(HEART).sum(axis=2)
    rows = np.flatnonzero(heart.sum(axis=1))
    assert heart[rows[0] + 3].sum() > 3 * heart[rows[-1] - 1].sum()  # upright: the tip below
    triangle = one(TRIANGLE, rotation=6).sum(axis=2)  # a quarter anticlockwise: the apex to the left
    columns = np.flatnonzero(triangle.sum(axis=0))
    assert triangle[:, columns[-1] - 1].sum() > 3 * triangle[:, columns[0] + 1].sum()
    x, y = map(round, centre(one(ELLIPSE, rotation=3)))  # an eighth anticlockwise: from lower left to upper right
    ellipse = one(ELLIPSE, rotation=3).sum(axis=2)
    assert ellipse[:y, x + 1 :].sum() > 2 * ellipse[:y, :x].sum()
    assert one(colour=COLOURS.index("yellow")).max(axis=(0, 1)).tolist() == [255, 255, 0]
    assert one(colour=COLOURS.index("cyan")).max(axis=(0, 1)).tolist() == [0, 255, 255]


def test_a_picture_depends_on_its_own_factors_alone(monkeypatch):
    values = sample(50, 3)
    whole = draw(values)
    assert np.array_equal(draw(values[::-1]), whole[::-1])
    monkeypatch.setattr(factors, "_AT_ONCE", 3 * 32**2)
    assert np.array_equal(draw(values), whole)
    assert draw(values[:0]).shape == (0, 32, 32, 3)
    assert draw(values.astype(np.uint8)).tobytes() == whole.tobytes()


def test_pictures_never_change():
    assert md5(draw(sample(200, 0)).tobytes()).hexdigest() == "14cfa16a98cf255f6cff48fe5bba57c6"


def test_twice_the_side_is_the_same_picture_finer():
    values = sample(30, 1)
    fine = draw(values, side=64).astype(float).reshape(30, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(fine - draw(values)).mean() < 1


def test_samples_are_different_combinations_evenly_drawn():
    values = sample(12_000, 0)
    assert values.dtype == np.int64
    assert len(np.unique(values, axis=0)) == 12_000
    for column, size in zip(values.T, SIZES):
        count = np.bincount(column, minlength=size)
        assert len(count) == size
        assert np.abs(count / 12_000 - 1 / size).max() < 0.02
    correlation = np.corrcoef(values.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.04
    assert np.array_equal(sample(100, 0), values[:100])
    assert not np.array_equal(sample(100, 1), values[:100])
    assert len(np.unique(sample(COMBINATIONS, 5), axis=0)) == COMBINATIONS


def test_the_known_data_set_holds_out_combinations_and_is_labelled_by_shape():
    split, (train, test) = load("factors"), parts()
    assert split.test is not None
    assert (len(split.train), len(split.test), split.train.shape) == (20_000, 4_000, (32, 32, 3))
    assert split.train.classes == SHAPES == ("ellipse", "heart", "triangle")
    assert np.array_equal(split.train.labels, train[:, 0])
    assert np.array_equal(split.test.labels, test[:, 0])
    assert np.array_equal(split.train.fetch(torch.tensor([7, 19_999]))[0], draw(train[[7, 19_999]]))
    assert np.array_equal(split.test.fetch(torch.tensor([0, 3_999]))[0], draw(test[[0, 3_999]]))
    assert len(np.unique(np.concatenate((train, test)), axis=0)) == 24_000


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((2, 5), int), r"factors are int64 \(2, 5\): expected integers \(N, 6\), shape, colour"),
        (np.zeros((2, 6)), "factors are float64"),
        (np.array([[0, 0, 0, 12, 0, 0]]), "rotation runs from 12 to 12: expected 0 to 11"),
        (np.array([[0, -1, 0, 0, 0, 0]]), "colour runs from -1 to -1"),
    ],
)
def test_factors_that_cannot_be_drawn_are_named(values, says):
    with pytest.raises(InputError, match=says):
        draw(values)


def test_sides_and_counts_out_of_range_are_named():
    with pytest.raises(InputError, match="side is 7: expected at least 8"):
        draw(sample(1, 0), side=7)
    for count in (0, 55_297):
        with pytest.raises(InputError, match=f"count is {count}: expected 1 to 55,296"):
            sample(count, 0)
