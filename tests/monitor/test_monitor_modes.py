"""How many kinds of samples are drawn: one, all, or as many as were built in."""

import math

import pytest
import torch
from support import SIZE, Noise, Shaken
from torch import nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.vit import vit
from twinlens.method import Method
from twinlens.monitor.look import Look
from twinlens.monitor.modes import coarse, modes


def test_the_slow_count_agrees() -> None:
    draws = torch.Generator().manual_seed(0)
    generated, real = torch.randn(50, 5, generator=draws), torch.randn(20, 5, generator=draws)
    hits = [0] * 20
    for g in generated.double().tolist():
        distances = [sum((a - b) ** 2 for a, b in zip(g, r, strict=True)) for r in real.double().tolist()]
        hits[distances.index(min(distances))] += 1
    entropy = -sum(h / 50 * math.log(h / 50) for h in hits if h)
    assert modes(generated, real) == pytest.approx(math.exp(entropy))


def test_one_thing_is_one_mode_and_the_data_itself_is_all() -> None:
    real = torch.randn(32, 9, generator=torch.Generator().manual_seed(0))
    assert modes(real[:1].repeat(32, 1), real) == pytest.approx(1)
    assert modes(real, real) == pytest.approx(32)
    assert modes(real[:8].repeat(4, 1), real) == pytest.approx(8)


def test_rare_things_count_less() -> None:
    real = torch.eye(4)
    assert modes(real[[0, 0, 0, 1]], real) == pytest.approx(4 / 27**0.25)  # exp of 2 log 2 - 3/4 log 3


def test_neither_order_nor_scale_nor_place_matter() -> None:
    draws = torch.Generator().manual_seed(1)
    generated, real = torch.randn(40, 6, generator=draws), torch.randn(30, 6, generator=draws)
    found = modes(generated, real)
    assert modes(generated.flip(0), real.roll(3, 0)) == pytest.approx(found)
    assert modes(generated * 5 + 1, real * 5 + 1) == pytest.approx(found)


def test_pictures_are_reduced_to_means_of_about_seven_by_seven() -> None:
    assert coarse(torch.zeros(2, 3, 28, 28)).shape == (2, 3 * 49)
    assert coarse(torch.zeros(2, 1, 64, 64)).shape == (2, 49)
    assert coarse(torch.zeros(2, 3, 8, 8)).shape == (2, 3 * 64)  # too small to lose anything
    view = torch.zeros(1, 1, 28, 28)
    view[..., :4, :4] = torch.arange(16.0).view(4, 4)
    assert coarse(view)[0].tolist() == [7.5] + [0.0] * 48


def test_all_else_is_taken_as_it_is() -> None:
    assert torch.equal(coarse(torch.arange(6.0).view(2, 3)), torch.arange(6.0).view(2, 3))
    assert coarse(torch.zeros(2, 3, 5, 28, 28)).shape == (2, 3 * 5 * 28 * 28)


class Drawing(Method):
    """Draws one of `kinds` things, and tells something of its own."""

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.encoder = vit(3, SIZE, patch=2, width=16, depth=1, heads=2)
        things = torch.randn(kinds, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        self.things = nn.Parameter(things)

    def encode(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return (self.encoder(batch.views[0]).mean(1),)

    def compare(self, loss: torch.Tensor) -> torch.Tensor:
        return loss.mean()

    def code(self, view: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(view), 1)

    def draw(self, key: torch.Tensor) -> torch.Tensor:
        return random.uniform(key, 1)

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        return self.things[(code[:, 0] * len(self.things)).long()]

    def tell(self, batch: Batch) -> dict[str, float]:
        assert not self.training
        return {"told": float(len(batch.index)), "nothing": math.nan}


def told(method: Drawing, *, trained: bool = True) -> dict[str, float]:
    seen = Look(
        method.encoder, Noise(40), Noise(80, seed=1), Shaken(), method.views, batch=12, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    return seen(method, method.encoder, seen.embed(method.encoder), trained=trained)


def test_a_look_counts_what_is_drawn_beside_real_samples_and_hears_what_is_told() -> None:
    few, many = told(Drawing(1)), told(Drawing(1000))
    assert few["modes"] == pytest.approx(1) and 1 < many["modes"] <= 40
    assert few["of_modes"] == many["of_modes"] and 1 < few["of_modes"] <= 40
    assert few["told"] == 12 and "nothing" not in few
    again = told(Drawing(1000))
    assert again["modes"] == many["modes"]  # the same draws in every look


def test_the_data_drawn_from_is_as_many_modes_as_there_are() -> None:
    method = Drawing(80)
    method.things.data = Shaken().clean(Noise(80, seed=1).fetch(torch.arange(80)))
    found = told(method)
    assert found["modes"] == pytest.approx(found["of_modes"], rel=0.5)


def test_before_the_first_step_nothing_is_drawn() -> None:
    assert not {"modes", "of_modes", "told"} & told(Drawing(1), trained=False).keys()


def test_what_is_drawn_must_be_numbers() -> None:
    method = Drawing(4)
    method.things.data.fill_(math.nan)
    assert told(method)["finite"] == 0
