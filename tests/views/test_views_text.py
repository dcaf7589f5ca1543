"""Windows of texts, known by hand and by what must hold whatever is drawn."""

import pytest
import torch

from twinlens.batch import PAD, Views
from twinlens.errors import InputError
from twinlens.views.text import TextViews

LENGTHS = torch.tensor([3, 20, 7, 1])
RAW = (torch.arange(10, 41, dtype=torch.int32), LENGTHS, torch.tensor([2]), torch.tensor([3]))
KEY = torch.arange(4)
TEXTS = [list(range(10, 13)), list(range(13, 33)), list(range(33, 40)), [40]]


def words(view: torch.Tensor) -> list[list[int]]:
    """What stands between the special ids of each row, which has to be framed and filled up on the right."""
    found = []
    for row in view.tolist():
        kept = [word for word in row if word != PAD]
        assert row == kept + [PAD] * (len(row) - len(kept)) and kept[0] == 2 and kept[-1] == 3
        found.append(kept[1:-1])
    return found


def inside(part: list[int], whole: list[int]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole)))


def test_the_clean_view_is_the_beginning():
    view = TextViews(length=8).clean(RAW)
    assert view.tolist() == [
        [2, 10, 11, 12, 3, PAD, PAD, PAD],
        [2, 13, 14, 15, 16, 17, 18, 3],
        [2, 33, 34, 35, 36, 37, 38, 3],
        [2, 40, 3, PAD, PAD, PAD, PAD, PAD],
    ]
    assert view.dtype == torch.int64


def test_strong_views_are_the_same_text_as_long_as_the_longest_needs():
    first, second = TextViews(length=64).create(RAW, KEY, Views())
    assert torch.equal(first, second) and first.shape == (4, 22) and words(first) == TEXTS


def test_weak_views_are_one_span_as_long_as_all_others():
    maker, seen = TextViews(length=8), set()
    for draw in range(200):
        (view,) = maker.create(RAW, KEY + 100 * draw, Views(large=1, strength="weak"))
        assert view.shape == (4, 8)
        for part, whole in zip(words(view), TEXTS, strict=True):
            assert len(part) == min(6, len(whole)) and inside(part, whole)
        seen.add(words(view)[1][0])
    assert {13, 27} <= seen  # the first place and the last


@pytest.mark.parametrize(
    "views", [Views(), Views(large=1, strength="weak"), Views(large=2, small=3), Views(3, moving=True)]
)
def test_a_view_is_a_function_of_its_text_and_key(views):
    maker = TextViews(length=8, pair="spans", words_deleted=0.3, words_hidden=0.3)
    whole = maker.create(RAW, KEY, views)
    assert len(whole) == views.large + views.small
    alone = (RAW[0][23:30], LENGTHS[2:3], *RAW[2:])
    for view, one in zip(whole, maker.create(alone, KEY[2:3], views), strict=True):
        assert words(view)[2] == words(one)[0]


def test_words_are_left_out_and_hidden_by_their_share_and_order_stays():
    maker = TextViews(length=64, words_deleted=0.5, words_hidden=0.25, unknown=1)
    first, second = (words(view) for view in maker.create(RAW, KEY, Views()))
    assert first != second
    for part, whole in zip(first, TEXTS, strict=True):
        left = len(whole) - min(round(0.5 * len(whole)), len(whole) - 1)
        assert len(part) == left
        shown = [word for word in part if word != 1]
        assert shown == sorted(shown) and set(shown) <= set(whole)
        assert len(part) - len(shown) == min(round(0.25 * left), left - 1)


def test_neighbours_and_moments_follow_each_other():
    first, second = (words(view) for view in TextViews(length=8, pair="neighbours").create(RAW, KEY, Views()))
    for a, b, whole in zip(first[:3], second[:3], TEXTS):
        assert len(a) == len(b) == min(6, len(whole) // 2) and inside(a + b, whole)
    moments = [words(view) for view in TextViews(length=4).create(RAW, KEY, Views(3, strength="weak", moving=True))]
    assert inside([word for moment in moments for word in moment[1]], TEXTS[1])


def test_small_views_are_shorter_spans():
    views = TextViews(length=16, small_length=5).create(RAW, KEY, Views(large=1, small=2))
    assert [view.shape[1] for view in views] == [16, 5, 5]
    assert all(inside(part, whole) for part, whole in zip(words(views[2]), TEXTS, strict=True))


def test_pieces_hold_every_word_once():
    views, owner = TextViews(length=8, whole=True).pieces(RAW)
    assert owner.tolist() == [0, 1, 1, 1, 1, 2, 2, 3]
    said: list[list[int]] = [[], [], [], []]
    for part, of in zip(words(views), owner.tolist(), strict=True):
        said[of] += part
    assert said == TEXTS
    views, owner = TextViews(length=8).pieces(RAW)
    assert torch.equal(views, TextViews(length=8).clean(RAW)) and owner.tolist() == [0, 1, 2, 3]


def test_an_empty_text_is_its_special_ids():
    raw = (RAW[0][:3], torch.tensor([3, 0]), *RAW[2:])
    assert TextViews(length=8).clean(raw)[1].tolist() == [2, 3, PAD, PAD, PAD]
    nothing = (RAW[0][:0], torch.tensor([0]), *RAW[2:])
    for view in TextViews(length=8, words_deleted=0.5).create(nothing, KEY[:1], Views()):
        assert view[0].tolist()[:1] == [2] and 3 in view[0].tolist()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"length": 0}, "length is 0"),
        ({"pair": "sam"}, "unknown pair 'sam': did you mean same"),
        ({"words_deleted": 1.0}, "words_deleted is 1.0"),
        ({"small_length": -1}, "small_length is -1"),
    ],
)
def test_bad_settings_are_one_sentence(how, said):
    with pytest.raises(InputError, match=said):
        TextViews(**how)


def test_special_ids_must_leave_room():
    with pytest.raises(InputError, match="a view of 2 words has no room beside 2 special ones"):
        TextViews(length=2).clean(RAW)
