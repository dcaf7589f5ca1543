"""Masks: exact counts, rectangles of the asked shapes anywhere in the grid, and nothing but the key decides."""

import math
from math import prod

import pytest
import torch
from torch import Tensor

from twinlens import random
from twinlens.batch import PAD
from twinlens.errors import InputError
from twinlens.views import masks
from twinlens.views.masks import blocks, deleted, enlarged, hide, rectangle, scattered, some_blocks, spans, visible


def keys(count: int, seed: int = 0) -> Tensor:
    return random.keys(seed, 0, torch.arange(count))


def box(mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width (N,) of what holds in (N, H, W), none of it empty."""
    rows, columns = mask.any(dim=2).int(), mask.any(dim=1).int()
    return rows.argmax(1), columns.argmax(1), rows.sum(1), columns.sum(1)


@pytest.mark.parametrize("grid", [(14, 14), (7, 7), (4, 4), (3, 10), (1, 9), (9,), (64,), (2,), (1,)])
def test_as_many_tokens_are_hidden_as_was_asked(grid: tuple[int, ...]) -> None:
    tokens = prod(grid)
    count = torch.arange(300) % (tokens + 1)
    mask = blocks(keys(300), grid, count)
    assert mask.shape == (300, tokens) and mask.dtype == torch.bool
    assert torch.equal(mask.sum(dim=1), count)


def test_a_mask_is_a_function_of_its_key_alone() -> None:
    count = torch.arange(50)
    mask = blocks(keys(50), (14, 14), count)
    some = torch.tensor([31, 7, 40])
    assert torch.equal(blocks(keys(50)[some], (14, 14), count[some]), mask[some])
    assert not torch.equal(blocks(keys(50, seed=1), (14, 14), count), mask)
    assert len(blocks(keys(50), (14, 14), torch.full((50,), 60)).unique(dim=0)) == 50


def test_a_rectangle_is_whole_and_of_the_asked_area_and_shape() -> None:
    area = torch.full((4000,), 900.0)
    mask = rectangle(random.uniform(keys(4000), 3), (100, 100), area)
    _, _, height, width = box(mask)
    assert torch.equal(mask.sum(dim=(1, 2)), height * width)  # nothing inside its bounds is left out
    assert ((height * width) / 900 - 1).abs().max() < 0.06  # sides of 16 to 55 are rounded
    aspect = height / width
    assert 0.3 / 1.05 < aspect.min() < 0.31 and 3.2 < aspect.max() < 1.05 / 0.3
    spread = aspect.log().sort().values / math.log(1 / 0.3)  # uniform in [-1, 1]
    assert (spread - torch.linspace(-1, 1, 4000)).abs().max() < 0.06


def test_other_shapes_can_be_asked_for() -> None:
    draws = random.uniform(keys(200), 3)
    _, _, height, width = box(rectangle(draws, (60, 60), torch.full((200,), 400.0), aspect=(1.0, 1.0)))
    assert (height == 20).all() and (width == 20).all()
    _, _, height, width = box(rectangle(draws, (60, 60), torch.full((200,), 400.0), aspect=(2.0, 3.0)))
    assert (height >= 28).all() and (width <= 14).all()


def test_every_place_is_as_likely() -> None:
    draws = random.uniform(keys(20000), 3)
    top, left, height, width = box(rectangle(draws, (6, 8), torch.full((20000,), 4.0), aspect=(1.0, 1.0)))
    assert (height == 2).all() and (width == 2).all()
    found = torch.zeros(5, 7).index_put_((top, left), torch.ones(20000), accumulate=True)
    assert ((found - 20000 / 35) / math.sqrt(20000 / 35)).abs().max() < 4


@pytest.mark.parametrize(("grid", "area"), [((14, 14), 180.0), ((3, 30), 60.0), ((30, 3), 60.0), ((1, 9), 5.0)])
def test_a_rectangle_always_fits(grid: tuple[int, int], area: float) -> None:
    mask = rectangle(random.uniform(keys(500), 3), grid, torch.full((500,), area))
    _, _, height, width = box(mask)
    assert torch.equal(mask.sum(dim=(1, 2)), height * width)
    assert (height * width >= 0.8 * area).all() and (height * width <= 1.2 * area).all()


def test_areas_run_from_16_of_196_to_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, made = [], []

    def note(draws: Tensor, grid: tuple[int, int], area: Tensor, *, aspect: tuple[float, float]) -> Tensor:
        asked.append(area)
        made.append(rectangle(draws, grid, area, aspect=aspect))
        return made[-1]

    monkeypatch.setattr(masks, "rectangle", note)
    blocks(keys(5000), (14, 14), torch.full((5000,), 76))
    spread = (asked[0].sort().values - 16) / 60  # the first is uniform from 16 to 76
    assert (spread - torch.linspace(0, 1, 5000)).abs().max() < 0.04
    hidden = torch.zeros(5000, 14, 14, dtype=torch.bool)
    for area, one in zip(asked, made, strict=True):
        missing = 76 - hidden.sum(dim=(1, 2))
        assert (area >= missing.clamp(max=16) - 1e-4).all() and (area <= missing + 1e-4).all()
        more = hidden | one
        hidden = torch.where((more.sum(dim=(1, 2)) <= 76)[:, None, None], more, hidden)
    assert (76 - hidden.sum(dim=(1, 2))).float().mean() < 0.2  # so few are left to be hidden one by one


def test_what_rectangles_leave_is_hidden_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "rectangle", lambda draws, grid, area, *, aspect: torch.zeros(len(area), *grid).bool())
    mask = blocks(keys(20000), (4, 5), torch.full((20000,), 7))
    assert (mask.sum(dim=1) == 7).all()
    share = 7 / 20
    assert ((mask.float().mean(dim=0) - share) / math.sqrt(share * (1 - share) / 20000)).abs().max() < 4
    both = (mask[:, :-1] & mask[:, 1:]).float().mean(dim=0)  # neighbours are hidden together no oftener than others
    assert (both - share * 6 / 19).abs().max() < 0.015


def test_blocks_hang_together_and_reach_everywhere() -> None:
    mask = blocks(keys(3000), (14, 14), torch.full((3000,), 60)).view(-1, 14, 14)
    beside = (mask[:, :, :-1] & mask[:, :, 1:]).sum() / mask[:, :, :-1].sum()
    assert beside > 0.75  # at random it would be 60 / 196
    often = mask.float().mean(dim=0)
    assert often.min() > 0.02  # corners lie in the fewest rectangles
    for turned in (often.flip(0), often.flip(1), often.T):
        assert (turned - often).abs().max() < 0.05


def test_half_of_the_samples_hide_a_share_in_the_asked_range() -> None:
    mask = some_blocks(keys(4000), (14, 14), (0.1, 0.5))
    share = mask.sum(dim=1) / 196
    hides = share > 0
    assert abs(hides.float().mean() - 0.5) < 0.03
    drawn = share[hides].sort().values
    assert (drawn - torch.linspace(0.1, 0.5, len(drawn))).abs().max() < 0.02
    grid = mask.view(-1, 14, 14)  # how many are hidden says nothing of the shape of what is
    along, across = (grid[:, :, 1:] & grid[:, :, :-1]).sum(), (grid[:, 1:] & grid[:, :-1]).sum()
    assert abs(along / across - 1) < 0.02
    assert not some_blocks(keys(100), (14, 14), (0.0, 0.0)).any()
    every = some_blocks(keys(100), (4, 4), (1.0, 1.0)).sum(dim=1)
    assert set(every.tolist()) == {0, 16}


@pytest.mark.parametrize("share", [(0.5, 0.1), (-0.1, 0.5), (0.1, 1.5)])
def test_shares_must_be_shares(share: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="give shares from 0 to 1"):
        some_blocks(keys(2), (4, 4), share)


def test_all_frames_hide_the_same_blocks() -> None:
    mask = some_blocks(keys(200), (3, 6, 7), (0.2, 0.5))
    assert mask.shape == (200, 126)
    assert torch.equal(mask, some_blocks(keys(200), (6, 7), (0.2, 0.5)).repeat(1, 3))
    words = some_blocks(keys(200), (30,), (0.2, 0.5))
    assert words.shape == (200, 30) and 6 <= words.sum(1)[words.any(1)].min() <= words.sum(1).max() <= 15


# What a method asks for -----------------------------------------------------------------------------------------------

GRIDS = [(14, 14), (5, 7), (2, 2), (64,), (9,), (3, 6, 6), (2, 3, 5)]
FITS = {"random": (1, 2, 3), "block": (1, 2, 3), "inverse block": (1, 2, 3), "tube": (3,), "span": (1,)}
ASKED = [(kind, grid) for kind, axes in FITS.items() for grid in GRIDS if len(grid) in axes]
TOGETHER = ("tube", "block", "inverse block")  # frames of a clip hide the same


@pytest.mark.parametrize(("kind", "grid"), ASKED)
def test_shares_are_exact(kind: masks.Kind, grid: tuple[int, ...]) -> None:
    frames = grid[0] if kind in TOGETHER and len(grid) == 3 else 1
    each = prod(grid) // frames
    for share in (0.02, 0.1, 0.15, 0.3, 0.49, 0.5, 0.6, 0.75, 0.9, 0.98):
        count = round(share * each)
        if 0 < count < each:
            mask = hide(kind, keys(40), grid, share)
            assert mask.shape == (40, prod(grid)) and mask.dtype == torch.bool
            assert (mask.sum(dim=1) == frames * count).all(), share
        else:
            with pytest.raises(InputError, match=f"a share of {share} hides {count} of {each} tokens"):
                hide(kind, keys(40), grid, share)


@pytest.mark.parametrize(("kind", "grid"), ASKED)
def test_what_is_hidden_is_a_function_of_the_key_alone(kind: masks.Kind, grid: tuple[int, ...]) -> None:
    mask = hide(kind, keys(50), grid, 0.4)
    some = torch.tensor([31, 7, 40])
    assert torch.equal(hide(kind, keys(50)[some], grid, 0.4), mask[some])
    assert not torch.equal(hide(kind, keys(50, seed=1), grid, 0.4), mask)


@pytest.mark.parametrize(("kind", "grid"), [one for one in ASKED if one[0] in TOGETHER and len(one[1]) == 3])
def test_all_frames_hide_the_same_places(kind: masks.Kind, grid: tuple[int, ...]) -> None:
    mask = hide(kind, keys(100), grid, 0.5).view(100, *grid)
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert len(mask[:, 0].flatten(1).unique(dim=0)) > 20


def test_random_frames_hide_different_places() -> None:
    mask = hide("random", keys(100), (2, 6, 6), 0.5).view(100, 2, 36)
    assert ((mask[:, 0] & mask[:, 1]).float().mean() - 0.25).abs() < 0.02


@pytest.mark.parametrize(
    ("kind", "grid"), [("random", (5, 4)), ("random", (20,)), ("random", (2, 5, 2)), ("tube", (2, 5, 4))]
)
def test_at_random_every_token_and_every_pair_is_hidden_as_often(kind: masks.Kind, grid: tuple[int, ...]) -> None:
    mask = hide(kind, keys(20000), grid, 0.35)[:, -20:]
    assert ((mask.float().mean(dim=0) - 0.35) / math.sqrt(0.35 * 0.65 / 20000)).abs().max() < 4
    both = mask.float().T @ mask.float() / 20000
    expected = torch.full((20, 20), 7 * 6 / (20 * 19)).fill_diagonal_(0.35)
    assert (both - expected).abs().max() < 0.015


def test_every_set_is_as_likely() -> None:
    sets = scattered(keys(20000), 6, 2)
    found, often = sets.int().unique(dim=0, return_counts=True)
    assert len(found) == 15
    assert ((often - 20000 / 15) / math.sqrt(20000 / 15)).abs().max() < 4


def test_what_inverse_blocks_leave_are_blocks() -> None:
    of_picture = hide("inverse block", keys(50), (6, 6), 0.75)
    assert torch.equal(~of_picture, blocks(keys(50), (6, 6), torch.full((50,), 9)))
    assert torch.equal(~of_picture, hide("block", keys(50), (6, 6), 0.25))
    assert torch.equal(hide("inverse block", keys(50), (2, 6, 6), 0.75), of_picture.repeat(1, 2))


def test_blocks_of_a_sequence_hang_together() -> None:
    mask = hide("block", keys(500), (60,), 0.4)
    runs = mask[:, 0].int() + (mask[:, 1:] & ~mask[:, :-1]).sum(1)
    assert runs.float().mean() < 4  # at random it would be 14.6


def slow_spans(key: Tensor, total: int, count: int, stop: float, longest: int) -> tuple[list[bool], int]:
    """What one sample hides, run by run and token by token, and how many of them are covered by runs."""
    tries = 4 * (count // 3 + 1)
    ends, places = random.uniform(key, 2, tries)[0].double()
    longest = min(longest, total)
    chances = [stop * (1 - stop) ** k for k in range(longest)]
    hidden: list[bool] = [False] * total
    for end, place in zip(ends.tolist(), places.tolist(), strict=True):
        length, below = 1, chances[0]
        while length < longest and end * sum(chances) >= below:
            below += chances[length]
            length += 1
        start = int(place * (total + 1 - length))
        for token in range(start, start + length):
            if sum(hidden) < count:
                hidden[token] = True
    return hidden, sum(hidden)


@pytest.mark.parametrize(
    ("total", "count", "stop", "longest"),
    [(40, 6, 0.2, 10), (40, 30, 0.2, 10), (7, 3, 0.2, 10), (50, 20, 0.5, 3), (9, 4, 0.2, 1), (12, 11, 0.2, 10)],
)
def test_spans_equal_a_slow_loop(total: int, count: int, stop: float, longest: int) -> None:
    mask = spans(keys(60), total, count, stop=stop, longest=longest)
    enough = 0
    for n in range(60):
        slow, covered = slow_spans(keys(60)[n : n + 1], total, count, stop, longest)
        if covered == count:
            enough += 1
            assert mask[n].tolist() == slow
        assert (mask[n] | ~torch.tensor(slow)).all() and mask[n].sum() == count
    assert enough > 50 or count > 0.9 * total


def test_spans_have_geometric_lengths() -> None:
    """Each of a long sequence with room for many, of which hardly two meet."""
    mask = spans(keys(40), 40000, 400)
    edge = torch.zeros(40, 1, dtype=torch.bool)
    padded = torch.cat((edge, mask, edge), dim=1)
    starts = (padded[:, 1:] & ~padded[:, :-1]).nonzero()[:, 1]
    ends = (~padded[:, 1:] & padded[:, :-1]).nonzero()[:, 1]
    length = ends - starts
    assert abs(length.float().mean() - 3.8) < 0.15
    often = length.bincount(minlength=11)[1:11] / len(length)
    chances = torch.tensor([0.2 * 0.8**k for k in range(10)])
    assert (often - chances / chances.sum()).abs().max() < 0.02
    assert (length > 10).float().mean() < 0.02
    spread = starts.sort().values / 40000
    assert (spread - torch.linspace(0, 1, len(spread))).abs().max() < 0.03


@pytest.mark.parametrize("longest", range(1, 11))
def test_the_largest_draw_is_the_longest_run_at_the_end(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda key, *shape: torch.full((len(key), *shape), 1 - 2**-24))
    mask = spans(keys(1), 20, longest, longest=longest)
    assert mask[0].tolist() == [False] * (20 - longest) + [True] * longest


def test_what_runs_leave_is_hidden_at_random() -> None:
    mask = spans(keys(4000), 10, 9, longest=1)  # 16 runs of one token hide 8.1 of 10 on average
    assert (mask.sum(dim=1) == 9).all()
    assert ((mask.float().mean(dim=0) - 0.9) / math.sqrt(0.09 / 4000)).abs().max() < 4


# What is done with a mask ---------------------------------------------------------------------------------------------


def test_visible_tokens_known_by_hand() -> None:
    mask = torch.tensor([[1, 0, 1, 0, 0], [1, 1, 1, 1, 0], [0, 1, 1, 1, 0]]).bool()
    keep, there = visible(mask)
    assert keep.dtype == torch.int64 and there.dtype == torch.bool
    assert keep.tolist() == [[1, 3, 4], [4, 0, 1], [0, 4, 1]]
    assert there.tolist() == [[True, True, True], [True, False, False], [True, True, False]]


def test_visible_tokens_are_those_left_whatever_the_batch() -> None:
    mask = torch.rand(50, 30, generator=torch.Generator().manual_seed(0)) < torch.linspace(0, 1, 50)[:, None]
    keep, there = visible(mask)
    assert keep.shape == there.shape == (50, int((~mask).sum(1).max()))
    for n in range(50):
        left = (~mask[n]).nonzero().flatten()
        assert torch.equal(keep[n][there[n]], left) and torch.equal(visible(mask[n : n + 1])[0][0], left)
        assert len(keep[n].unique()) == keep.shape[1]  # those that fill up are hidden ones


def test_enlarged_known_by_hand() -> None:
    mask = torch.tensor([[1, 0, 0, 0, 1, 1], [0, 1, 1, 0, 0, 0]]).bool()
    pixels = enlarged(mask, (2, 3), (4, 6))
    assert pixels.shape == (2, 1, 4, 6) and pixels.dtype == torch.bool
    top, bottom = [1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1]
    assert pixels[0, 0].int().tolist() == [top, top, bottom, bottom]
    assert torch.equal(enlarged(mask, (2, 3), (2, 3))[:, 0], mask.view(2, 2, 3))
    odd = enlarged(mask, (2, 3), (3, 7))  # rows 0 0 1, columns 0 0 0 1 1 2 2
    assert odd[0, 0].int().tolist() == [[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert odd[1, 0].int().tolist() == [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]
    assert enlarged(mask, (2, 3), (1, 2))[0, 0].tolist() == [[True, False]]  # smaller: the first of each


@pytest.mark.parametrize("size", [(8, 8), (9, 11), (17, 8)])
def test_every_token_covers_its_share_of_pixels(size: tuple[int, int]) -> None:
    area = torch.stack([enlarged(one[None], (4, 4), size).sum() for one in torch.eye(16).bool()])
    assert area.sum() == size[0] * size[1]
    sides = [[-(-side // 4), side // 4] for side in size]
    assert set(area.tolist()) <= {h * w for h in sides[0] for w in sides[1]}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_share_must_hide_and_leave_some(share: float) -> None:
    with pytest.raises(
        InputError, match=f"a share of {share} of the tokens is hidden: expected one above 0 and below 1"
    ):
        hide("random", keys(2), (4, 4), share)


def test_a_frame_must_hide_and_leave_some() -> None:
    """Though of the whole clip the share would hide two."""
    for kind in ("tube", "block", "inverse block"):
        with pytest.raises(InputError, match=r"a share of 0\.1 hides 0 of 4 tokens: choose one that hides and leaves"):
            hide(kind, keys(2), (5, 2, 2), 0.1)  # type: ignore[arg-type]
    assert (hide("random", keys(2), (5, 2, 2), 0.1).sum(1) == 2).all()


@pytest.mark.parametrize(("kind", "grid"), [("tube", (4, 4)), ("tube", (16,)), ("span", (4, 4)), ("span", (2, 4, 4))])
def test_a_kind_must_fit_the_grid(kind: masks.Kind, grid: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"a mask of kind '{kind}' does not fit the grid \({grid[0]},.*\): spans are"):
        hide(kind, keys(2), grid, 0.5)


def test_a_kind_must_be_known() -> None:
    with pytest.raises(InputError, match="unknown kind of mask 'tubes': did you mean tube"):
        hide("tubes", keys(2), (2, 4, 4), 0.5)  # type: ignore[arg-type]


def some_texts(count: int, longest: int) -> Tensor:
    """Row n has n % (longest + 1) words, which grow from left to right."""
    length = torch.arange(count) % (longest + 1)
    return torch.arange(longest).expand(count, -1).where(torch.arange(longest) < length[:, None], PAD)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.6, 1.0])
def test_so_many_words_of_each_row_are_deleted_and_the_rest_keeps_its_order(share: float) -> None:
    ids = some_texts(200, 12)
    left = deleted(keys(200), ids, share)
    assert left.shape == ids.shape
    for before, after in zip(ids.tolist(), left.tolist(), strict=True):
        length = sum(word >= 0 for word in before)
        stays = max(length - round(share * length), min(length, 1))
        words = after[:stays]
        assert after[stays:] == [PAD] * (12 - stays)
        assert words == sorted(set(words)) and set(words) <= set(before[:length])


def test_what_is_deleted_is_a_matter_of_the_key_and_as_likely_anywhere() -> None:
    ids = torch.arange(5).repeat(4000, 1)
    left = deleted(keys(4000), ids, 0.6)
    share = (left[:, :2, None] == torch.arange(5)).any(dim=1).float().mean(dim=0)
    assert (share - 0.4).abs().max() < 0.03
    some = torch.tensor([7, 3])
    assert torch.equal(deleted(keys(4000)[some], ids[some], 0.6), left[some])
    longer = torch.cat((ids, torch.full((4000, 3), PAD)), dim=1)
    assert torch.equal(deleted(keys(4000), longer, 0.6)[:, :5], left)  # however far a row is filled up


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_words_is_a_share(share: float) -> None:
    with pytest.raises(InputError, match=rf"a share of {share} of the words is asked for: expected one from 0 to 1"):
        deleted(keys(2), some_texts(2, 3), share)
