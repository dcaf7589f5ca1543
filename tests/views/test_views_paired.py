"""Views of samples in parts."""

import pytest
import torch
from support import SIZE

from twinlens.batch import Views
from twinlens.errors import InputError
from twinlens.views.image import ImageViews
from twinlens.views.paired import Paired
from twinlens.views.text import TextViews

PICTURES = (torch.randint(256, (3, 12, 12, 3)).byte(), torch.ones(3))
TEXTS = (torch.arange(10, 22, dtype=torch.int32), torch.tensor([3, 4, 5]), torch.tensor([2]), torch.tensor([3]))
KEY = torch.arange(3)


def test_each_part_has_its_views():
    maker = Paired([ImageViews(size=SIZE), TextViews(length=16)])
    assert maker.sizes == {"size": SIZE, "length": 16} and maker.takes == 6
    picture, text = maker.create(PICTURES + TEXTS, KEY, Views(large=2, strength="weak", paired=True))
    assert picture.shape == (3, 3, SIZE, SIZE) and text.shape == (3, 16)
    assert torch.equal(maker.clean(PICTURES + TEXTS), ImageViews(size=SIZE).clean(PICTURES))
    raws = list(maker.apart(PICTURES + TEXTS))
    assert raws[0][0] is PICTURES[0] and raws[1][1] is TEXTS[1]


def test_all_parts_or_as_many_views_as_are_asked_for():
    maker, other = Paired([TextViews()] * 3), (TEXTS[0] + 100, *TEXTS[1:])
    raw = TEXTS + other + TEXTS
    assert len(maker.create(raw, KEY, Views(large=2, paired=True))) == 3
    first, second = maker.create(raw, KEY, Views(large=2))
    assert first[0, 1] == 10 and second[0, 1] == 110
    assert [view[0, 1].item() for view in maker.create(raw, KEY, Views(large=4))] == [10, 110, 10, 10]


def test_two_views_of_one_part_differ():
    maker = Paired([ImageViews(size=SIZE), TextViews()])
    views = maker.create(PICTURES + TEXTS, KEY, Views(large=4))
    assert not torch.equal(views[0], views[2])


@pytest.mark.parametrize("views", [Views(small=1), Views(moving=True), Views(task="rotation")])
def test_what_parts_cannot_be_made_into_is_said(views):
    with pytest.raises(InputError, match="come in parts"):
        Paired([TextViews()] * 2).create(TEXTS + TEXTS, KEY, views)
