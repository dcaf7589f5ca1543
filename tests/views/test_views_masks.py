"""Masks: exact counts, rectangles of the asked shapes anywhere in the grid, and nothing but the key decides."""

import math

import pytest
import torch
from torch import Tensor

from twinlens import random
from twinlens.errors import InputError
from twinlens.views import masks
from twinlens.views.masks import blocks, rectangle, some_blocks


def keys(count: int, seed: int = 0) -> Tensor:
    return random.keys(seed, 0, torch.arange(count))


def box(mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width (N,) of what holds in (N, H, W), none of it empty."""
    rows, columns = mask.any(dim=2).int(), mask.any(dim=1).int()
    return rows.argmax(1), columns.argmax(1), rows.sum(1), columns.sum(1)


@pytest.mark.parametrize("grid", [(14, 14), (7, 7), (4, 4), (3, 10), (1, 9)])
def test_as_many_tokens_are_hidden_as_was_asked(grid: tuple[int, int]) -> None:
    tokens = grid[0] * grid[1]
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
