"""Each task's answer is found again in what it shows."""

import numpy as np
import pytest
import torch
from scipy import stats

from twinlens import random
from twinlens.batch import Views
from twinlens.errors import InputError
from twinlens.views.lab import bins, lab
from twinlens.views.tasks import CELLS, PERMUTATIONS, TASKS, coloured, find, permutations, shown


def keys(count, seed=0):
    return random.keys(seed, 0, torch.arange(count))


def noise(count, channels=3, size=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=generator) * 4 - 2


def made(name, count, channels=3, size=12):
    return tuple(noise(count, channels, size, seed) for seed in range(find(name).views.large))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(("size", "channels"), [(8, 3), (28, 1), (33, 3)])
def test_a_task_shows_what_it_declares_whatever_the_size(name, size, channels):
    task = find(name)
    if task.colour and channels == 1:
        return
    seen, answer = task.ask(made(name, 6, channels, size), keys(6))
    assert len(seen) == task.shown == shown(task.views) and task.views.task == name
    for view in seen:
        assert view.shape == (6, channels, size, size) and view.dtype == torch.float32
        assert view.is_contiguous() and view.isfinite().all()
    assert answer.shape == ((6, task.parts) if task.parts > 1 else (6,)) and answer.dtype == torch.int64
    assert answer.min() >= 0 and answer.max() < task.answers


@pytest.mark.parametrize("name", TASKS)
def test_what_is_asked_of_a_sample_does_not_depend_on_the_batch(name):
    task, views, key = find(name), made(name, 23, size=32), keys(23)
    before = [view.clone() for view in views]
    whole, answers = task.ask(views, key)
    for part in torch.arange(23).split(5):
        seen, answer = task.ask(tuple(view[part] for view in views), key[part])
        assert torch.equal(answer, answers[part])
        assert all(torch.equal(one, view[part]) for one, view in zip(seen, whole, strict=True))
    assert all(torch.equal(view, old) for view, old in zip(views, before, strict=True))


@pytest.mark.parametrize("name", [name for name in TASKS if name != "colorization"])
def test_answers_are_as_frequent_as_each_other_and_independent_of_the_picture(name):
    task, count = find(name), 5000
    views = tuple(view.expand(count, -1, -1, -1) for view in made(name, 1, 1, 6))
    _, answer = task.ask(views, keys(count))
    counts = torch.bincount(answer, minlength=task.answers).numpy()
    assert len(counts) == task.answers and stats.chisquare(counts).pvalue > 1e-3
    again = task.ask(tuple(-view for view in views), keys(count))[1]
    assert torch.equal(answer, again) and not torch.equal(answer, task.ask(views, keys(count, 1))[1])


def test_what_is_no_task_is_named_and_views_without_one_are_all_shown():
    with pytest.raises(InputError, match="unknown task 'jigsow': did you mean jigsaw"):
        find("jigsow")
    assert shown(Views(2, 6)) == 8


def test_turned_back_a_picture_is_as_it_was():
    view = noise(40)
    (seen,), turns = find("rotation").ask((view,), keys(40))
    assert set(turns.tolist()) == {0, 1, 2, 3}
    for one, turned, count in zip(view, seen, turns.tolist(), strict=True):
        for _ in range(count):  # with the clock: the last row becomes the first column
            turned = turned.flip(1).transpose(1, 2)
        assert torch.equal(turned, one)


def test_a_quarter_turn_by_hand():
    view = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(40, 1, 2, 2)
    (seen,), turns = find("rotation").ask((view,), keys(40))
    once = seen[turns == 1][0, 0]
    assert once.tolist() == [[2, 4], [1, 3]]  # against the clock: the last column is on top


def slowly(view, left, top, side):
    """A tile of a picture (C, H, W) in float64, enlarged to its size, pixel by pixel."""
    channels, height, width = view.shape
    out = np.zeros(view.shape)
    for i in range(height):
        for j in range(width):
            y = min(max((top + side * (i + 0.5) / height) * height - 0.5, 0), height - 1)
            x = min(max((left + side * (j + 0.5) / width) * width - 0.5, 0), width - 1)
            low, first = min(int(y), height - 2), min(int(x), width - 2)
            for c in range(channels):
                square = view[c, low : low + 2, first : first + 2].double().numpy()
                out[c, i, j] = np.array([low + 1 - y, y - low]) @ square @ np.array([first + 1 - x, x - first])
    return torch.from_numpy(out)


@pytest.mark.parametrize("grid", [1, 3])
def test_tiles_at_their_own_scale_agree_with_a_slow_computation(grid):
    from twinlens.views.tasks import _tiles

    view, size, side = noise(3, 2, 12), 12, 0.8 / grid
    generator = torch.Generator().manual_seed(1)
    corners = 1.2 * torch.rand(3, grid**2, 2, generator=generator) - 0.2  # some beyond the border, where it repeats
    cell = torch.cartesian_prod(torch.arange(grid), torch.arange(grid)).flip(1) / grid
    at = cell + (1 / grid - side) * torch.rand(3, grid**2, 2, generator=generator)
    found = _tiles(view, corners, at, side)
    place = (torch.arange(size) + 0.5) / size
    for n in range(3):
        expected = torch.zeros_like(view[n]).double()
        for to, corner in zip(at[n], corners[n], strict=True):
            across, down = ((place >= to[axis]) & (place < to[axis] + side) for axis in (0, 1))
            # the picture moved, of which a square is seen
            whole = slowly(view[n], *(corner - to).double().tolist(), 1.0)
            expected += whole * (down[:, None] & across)
        torch.testing.assert_close(found[n].double(), expected, atol=1e-5, rtol=0)
        assert (found[n] == 0).any() and len(found[n].unique()) > 50


def test_tiles_of_a_jigsaw_lie_where_the_permutation_says():
    count, size, side = 200, 90, 64 / 85 / 3
    (across, answer), (down, _) = (find("jigsaw").ask((1 + ramp,), keys(count)) for ramp in ramps(count, size))
    pictures = torch.stack((across[0], down[0]))[:, :, 0] - 1  # (2 of x and y, N, H, W)
    inside = pictures[0] > -0.5
    assert torch.equal(inside, pictures[1] > -0.5)

    def by_thirds(x):
        return x.unflatten(-1, (3, 30)).unflatten(-3, (3, 30)).sum((-3, -1)).flatten(-2)  # (..., 9)

    pixels = by_thirds(inside)
    assert pixels.min() >= 22**2 and pixels.max() <= 23**2  # of 22.6 on either side
    source, at = (by_thirds(x * inside) / pixels for x in (pictures, torch.cat(ramps(count, size), 1).transpose(0, 1)))
    cells = (3 * source).floor().long()
    assert np.array_equal(3 * cells[1] + cells[0], permutations(PERMUTATIONS)[answer])
    reach = 1 / 6 - side / 2
    off, moved = (((x % (1 / 3)) - 1 / 6).flatten() for x in (source, at))
    assert stats.kstest(off, "uniform", args=(-reach, 2 * reach)).pvalue > 1e-3
    assert moved.abs().max() < reach + 0.5 / size and moved.std() > 0.9 * reach / 3**0.5
    assert abs(np.corrcoef(off, moved)[0, 1]) < 0.1


def test_tiles_of_a_jigsaw_keep_their_scale():
    (picture,), _ = find("jigsaw").ask((1 + ramps(3, 90)[0],), keys(3))
    seen = picture > 0.5
    steps = picture.diff(dim=3)[seen[..., 1:] & seen[..., :-1]]
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / 90), atol=1e-5, rtol=0)


def differing(a, b):
    return (a[:, None] != b).sum(2)


def test_permutations_differ_as_much_as_they_can():
    found = permutations(PERMUTATIONS)
    assert found.shape == (100, 9) and (np.sort(found, 1) == np.arange(9)).all() and (found[0] == np.arange(9)).all()
    apart = differing(found, found) + 10 * np.eye(100, dtype=int)
    assert (apart[:9, :9] >= 9).all()  # a Latin square: each tile once at each place
    assert (np.sort(found[:9], 0) == np.arange(9)[:, None]).all()
    assert apart.min() == 6
    assert (permutations(20) == found[:20]).all() and apart[:20, :20].min() == 7


def test_no_other_permutation_was_farther_from_those_before():
    found = permutations(PERMUTATIONS)
    others = np.argsort(np.random.default_rng(0).random((20_000, 9)), 1)
    for k in (9, 10, 30, 99):
        least = differing(found[k : k + 1], found[:k]).min()
        assert differing(others, found[:k]).min(1).max() <= least


def ramps(count, size):
    """Pictures of x and of y, of one channel, in shares of the picture."""
    at = (torch.arange(size) + 0.5) / size
    return at.expand(count, 1, size, size), at[:, None].expand(count, 1, size, size)


SIDE, REACH = 96 / 144 / 2, 7 / 144 / 2  # of a tile, in shares of the view


def test_the_second_tile_lies_where_the_answer_says():
    count, size = 500, 96
    across, down = (find("relative_position").ask((1 + ramp,), keys(count)) for ramp in ramps(count, size))
    assert torch.equal(across[1], down[1])
    seen = torch.stack([torch.stack(way[0]) for way in (across, down)], 3)[:, :, 0]  # (2, N, 2 of x and y, H, W)
    inside = seen[:, :, :1] > 0.5
    assert torch.equal(inside, seen[:, :, 1:] > 0.5)
    pixels = inside.sum((3, 4))  # a third of the side both ways, and no more
    assert pixels.min() >= 31**2 and pixels.max() <= 33**2
    at = (seen * inside).sum((3, 4)) / pixels - 1  # middles of what is shown: (2, N, 2)
    cells = torch.where(at < 0.5, 0, 1)
    around = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if (x, y) != (0, 0)])
    assert torch.equal(cells[1] - cells[0], around[across[1]])
    off = at - (cells + 0.5) / 2
    assert 0.9 * REACH < off.abs().max() < REACH + 1 / size
    # Where a tile stands in its view says nothing: it may be anywhere.
    rows = torch.arange(size).view(1, 1, 1, size, 1)
    top = torch.where(inside, rows, size).flatten(2).min(2).values / size
    assert stats.kstest(top.flatten().numpy(), "uniform", args=(0, 1 - SIDE)).pvalue > 1e-3
    assert abs(np.corrcoef(top.numpy())[0, 1]) < 0.15  # each by itself
    assert abs(np.corrcoef(top[1].numpy(), cells[1, :, 1].numpy())[0, 1]) < 0.15


def test_the_first_tile_may_be_any_that_has_a_neighbour_there():
    count = 4000
    across, down = (find("relative_position").ask((1 + ramp,), keys(count)) for ramp in ramps(count, 24))
    x, y = (((way[0][0] - 1).clamp(min=0).sum((1, 2, 3)) / (way[0][0] > 0.5).sum((1, 2, 3))) for way in (across, down))
    first = (y > 0.5).long() * 2 + (x > 0.5).long()
    counts = torch.zeros(8, 4).index_put_((across[1], first), torch.ones(count), accumulate=True)
    half, all_ = 1 / 2, 1.0
    share = torch.tensor(
        [[0, 0, 0, all_], [0, 0, half, half], [0, 0, all_, 0], [0, half, 0, half],
         [half, 0, half, 0], [0, all_, 0, 0], [half, half, 0, 0], [all_, 0, 0, 0]]
    )  # fmt: skip
    torch.testing.assert_close(counts / counts.sum(1, keepdim=True), share, atol=0.1, rtol=0)


def test_two_tiles_of_three_are_grey():
    count = 600
    seen, _ = find("relative_position").ask((noise(count, size=24),), keys(count))
    grey = torch.stack([(tile == tile.mean(1, keepdim=True)).all(3).all(2).all(1) for tile in seen])  # (2, N)
    assert abs(grey.double().mean() - 2 / 3) < 0.06
    assert abs(np.corrcoef(grey.double().numpy())[0, 1]) < 0.15  # each tile by itself


def test_colours_agree_with_a_slow_computation():
    view = noise(5, size=8)
    (grey,), answer = find("colorization").ask((view,), keys(5))
    for n in range(5):
        for row in range(CELLS):
            for column in range(CELLS):
                cell = view[n, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].double().flatten(1).T
                ab = lab((cell + 2) / 4)[:, 1:].mean(0).numpy()
                distance = ((bins().astype(float) - ab) ** 2).sum(1)
                assert distance[answer[n, CELLS * row + column]] < distance.min() + 1e-3
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    light = lab(((view.double() + 2) / 4).permute(0, 2, 3, 1).flatten(0, 2))[:, 0].view(5, 8, 8)
    torch.testing.assert_close(grey[:, 0].double(), light / 25 - 2, atol=1e-5, rtol=0)


def test_red_and_grey_by_hand():
    red = torch.tensor([2.0, -2, -2]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    half = torch.cat((red[..., :4], torch.zeros(1, 3, 8, 4)), 3)  # red on the left, middle grey on the right
    (grey,), answer = find("colorization").ask((half,), keys(1))
    colours = torch.from_numpy(bins())[answer[0]].view(CELLS, CELLS, 2)
    assert (colours[:, :2] == torch.tensor([80, 70])).all() and (colours[:, 2:] == 0).all()  # red is (80.09, 67.20)
    torch.testing.assert_close(grey[0, 0, 0, [0, 7]], torch.tensor([53.24, 53.39]) / 25 - 2, atol=1e-3, rtol=0)
    assert find("colorization").answers == len(bins())
    again = coloured(grey, torch.nn.functional.one_hot(answer, len(bins())))
    torch.testing.assert_close(again[0, :, :, [0, 7]].mT, half[0, :, :, [0, 7]].mT, atol=0.25, rtol=0)


def test_colours_can_be_put_back():
    flat = (torch.rand(50, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * 4 - 2).expand(-1, -1, 8, 8)
    (grey,), answer = find("colorization").ask((flat,), keys(50))
    again = coloured(grey, torch.nn.functional.one_hot(answer, len(bins())))
    assert again.shape == flat.shape and again.abs().max() <= 2 + 1e-5
    assert (again - flat).abs().mean() < 0.1 < (grey - flat).abs().mean()  # within half a bin each way
    at = lab((again[:, :, 3, 3] + 2) / 4)[:, 0]
    inside = (again.abs() < 1.99).flatten(1).all(1)  # where the nearest bin is a colour at that lightness
    torch.testing.assert_close(at[inside], 25 * (grey[:, 0, 3, 3] + 2)[inside], atol=0.05, rtol=0)
    even = coloured(
        grey, (torch.nn.functional.one_hot(answer, len(bins())) + 0.0).mean(0, keepdim=True).expand(50, -1, -1)
    )
    assert (even[:, :, 0, 0] - even[:, :, 7, 7]).abs().max() < 1e-4


def test_grey_pictures_cannot_be_asked_for_colours():
    with pytest.raises(InputError, match=r"the pictures are grey, 1 channel, .* choose another --task"):
        find("colorization").ask((noise(2, 1),), keys(2))


def test_moments_are_in_order_half_of_the_time():
    count = 4000
    views = tuple(torch.full((count, 1, 2, 2), float(moment)) for moment in range(5))
    seen, answer = find("temporal_order").ask(views, keys(count))
    triples = torch.stack([view[:, 0, 0, 0] for view in seen], 1).long()
    assert all(torch.equal(view, view[:, :, :1, :1].expand_as(view)) for view in seen)
    names = ["".join("abcde"[i] for i in triple) for triple in triples.tolist()]
    found = {name: names.count(name) / count for name in set(names)}
    assert found.keys() == {"bcd", "dcb", "bad", "dab", "bed", "deb"}
    ordered = np.array([name in ("bcd", "dcb") for name in names])
    assert np.array_equal(ordered, answer.numpy() == 1)
    for name, share in found.items():
        assert abs(share - (1 / 4 if name in ("bcd", "dcb") else 1 / 8)) < 0.03
    assert find("temporal_order").views.moving
