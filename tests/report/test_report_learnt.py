"""What a method has learnt as pictures: which, of what, in which order; and nothing where there is nothing."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import SIZE, Noise, Shaken
from test_report import HOSTILE, content, page
from torch import nn

from twinlens import random
from twinlens.batch import Views
from twinlens.feed import create
from twinlens.method import Method
from twinlens.report.learnt import DRAWN, STEPS, drawn, learnt
from twinlens.report.stored import SHEET
from twinlens.views.colour import pixels

CPU = torch.device("cpu")
ONE = Views(large=1, strength="weak")
HELD, SHAPE = Noise(40, seed=3), (3, SIZE, SIZE)
OURS = ("what-it-predicts", "drawn", "decoded-between")


class Plain(Method):
    """Has nothing to show."""

    views = ONE

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def encode(self, batch):
        return (batch.views[0],)

    def compare(self, view):
        return view.mean()


class Decoding(nn.Module):
    """A code is the view itself, which is negated once and once more; counts codes as they are asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def code(self, view):
        assert not self.training and not torch.is_grad_enabled()
        return -view.flatten(1)

    def decode(self, code):
        self.asked.append(code)
        return -code.unflatten(1, SHAPE)


class Drawing(Decoding):
    def draw(self, key):
        return random.normal(key, 3 * SIZE * SIZE)


def of(method, **changes):
    made = learnt(method, HELD, Shaken(), ONE, seed=5, device=CPU)
    return SimpleNamespace(**{"shown": None, "drawn": None, "between": None} | made | changes)


def clean(index):
    return Shaken().clean(HELD.fetch(torch.tensor(index)))


def showing(show):
    """A method that shows what the function makes of a batch."""

    class Showing(Plain):
        def show(self, batch):
            assert not self.training and not torch.is_grad_enabled()
            return show(batch)

    return Showing()


def test_a_method_that_has_nothing_to_show_shows_nothing():
    assert learnt(Plain(), HELD, Shaken(), ONE, seed=0, device=CPU) == {}


def test_what_is_shown_is_of_evenly_spaced_samples_with_their_own_keys():
    method = showing(lambda batch: {"seen": batch.views[0], "drawn": random.normal(batch.key, *SHAPE)})
    found = of(method)
    index = torch.linspace(0, 39, SHEET).long()
    batch = create(Shaken(), ONE, HELD.fetch(index), index, random.keys(5, 0, index))
    assert found.shown.shape == (SHEET, 2, SIZE, SIZE, 3) and found.shown.dtype == np.uint8
    assert found.shown_titles.tolist() == ["seen", "drawn"]
    assert (found.shown[:, 0] == pixels(batch.views[0])).all()
    assert (found.shown[:, 1] == pixels(random.normal(batch.key, *SHAPE))).all()
    assert method.training and method.norm.training  # handed back as it came


def test_views_of_other_sizes_are_enlarged_and_grey_ones_stand_beside_coloured_ones():
    found = of(showing(lambda batch: {"grey": batch.views[0][:, :1, ::2, ::4], "whole": batch.views[0]}))
    assert found.shown.shape == (SHEET, 2, SIZE, SIZE, 3)
    for row, column in ((0, 0), (3, 5), (7, 2)):  # by nearest pixel, the grey level being red's
        assert (found.shown[:, 0, row, column] == found.shown[:, 1, row // 2 * 2, column // 4 * 4, :1]).all()


def test_what_is_no_picture_is_left_out():
    mixed = {
        "ids": lambda x: x[:, 0, 0],
        "two": lambda x: x[:, :2],
        "clip": lambda x: x[:, :, None],
        "sample": lambda x: x,
    }
    found = of(showing(lambda batch: {title: change(batch.views[0]) for title, change in mixed.items()}))
    assert found.shown_titles.tolist() == ["sample"] and found.shown.shape[1] == 1
    mixed.pop("sample")
    assert of(showing(lambda batch: {title: change(batch.views[0]) for title, change in mixed.items()})).shown is None


def test_a_method_of_labels_gets_those_of_the_samples():
    seen = []
    method = showing(lambda batch: seen.append(batch.target) or {})
    learnt(method, HELD, Shaken(), Views(large=1, labels=True), seed=0, device=CPU)
    learnt(method, HELD, Shaken(), ONE, seed=0, device=CPU)
    assert seen[0].tolist() == [i % 4 for i in torch.linspace(0, 39, SHEET).long().tolist()] and seen[1] is None


def test_drawn_samples_are_counted():
    found = of(Drawing())
    expected = -random.normal(random.keys(5, 0, torch.arange(DRAWN)), *SHAPE)
    assert found.drawn.shape == (DRAWN, SIZE, SIZE, 3) and (found.drawn == pixels(expected)).all()
    many = torch.cat(list(drawn(Drawing(), 700, seed=5, device=CPU)))
    assert len(many) == 700 and torch.equal(many[:DRAWN], expected)
    assert of(Decoding()).drawn is None


@pytest.mark.parametrize("kind", [Decoding, Drawing])
def test_the_way_leads_from_a_sample_to_another(kind):
    found, ends = of(kind()), torch.linspace(0, 39, 6).long().tolist()
    assert found.between.shape == (3, STEPS + 2, SIZE, SIZE, 3)
    for row, start, end in zip(found.between, ends[:3], ends[3:]):
        first, last = pixels(clean([start, end]))
        assert (row[0] == first).all() and (row[-1] == last).all()
        assert np.abs(row[1].astype(int) - first).max() <= 1 and np.abs(row[-2].astype(int) - last).max() <= 1


def test_codes_lie_on_a_line_and_with_a_prior_on_a_great_circle():
    straight, round_ = Decoding(), Drawing()
    of(straight), of(round_)
    a, b = -clean([0, 23]).flatten(1)
    middle = STEPS // 2
    torch.testing.assert_close(straight.asked[0][middle], (a + b) / 2)
    code = round_.asked[-1][middle]
    torch.testing.assert_close(code.norm(), (a.norm() + b.norm()) / 2)
    torch.testing.assert_close(torch.cosine_similarity(code, a, dim=0), torch.cosine_similarity(code, b, dim=0))


def test_where_there_is_no_circle_the_way_is_a_line():
    class Origin(Drawing):
        def code(self, view):
            return torch.zeros_like(view).flatten(1)

    assert (of(Origin()).between[:, 1:-1] == pixels(torch.zeros(1, 1, 1, 1))).all()


def test_a_method_that_decodes_to_no_pictures_has_no_way():
    class Words(Drawing):
        def decode(self, code):
            return code.long()

    found = of(Words())
    assert found.drawn is None and found.between is None


def test_sections_are_there_only_where_there_is_something(tmp_path):
    text, parsed = page(tmp_path, content())
    assert not set(OURS) & set(parsed.ids) and not any(f"#{name}" in text for name in OURS)
    some = np.zeros((4, 3, 6, 5, 1), dtype=np.uint8)
    made = (
        {"shown": some, "shown_titles": ["sample", "seen", HOSTILE]},
        {"drawn": some[:, 0]},
        {"between": some.repeat(3, 1)},
    )
    for name, changes in zip(OURS, made):
        text, parsed = page(tmp_path, content(**changes))
        assert set(OURS) & set(parsed.ids) == {name} and f'href="#{name}"' in text
    text, parsed = page(tmp_path, content(**made[0], **made[1], **made[2]))
    places = [parsed.ids.index(name) for name in ("views", *OURS, "spectrum")]
    assert places == sorted(places) and "<script" not in text
    section = text[text.index('id="what-it-predicts"') : text.index('id="drawn"')]
    assert section.count("<img") == 12 and "<span>seen</span>" in section
    section = text[text.index('id="decoded-between"') : text.index('id="spectrum"')]
    assert section.count("<img") == 36 and section.count('alt="sample"') == 8 and section.count('alt="its code"') == 8
    assert len(re.findall('first" src="[^"]*" alt="sample"', section)) == 8  # the real ones are outlined


def test_one_view_is_not_said_to_be_the_same_as_another(tmp_path):
    two, one = content(), content(views=content().views[:, :2], view_titles=["sample", "view 1"])
    assert "call the same" in page(tmp_path, two)[1].text and "call the same" not in page(tmp_path, one)[1].text
