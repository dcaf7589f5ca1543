"""A number for each text: the same for the same words, however far it is filled up."""

import torch

from twinlens.batch import PAD
from twinlens.views.identity import digest


def test_the_same_words_have_the_same_number_however_far_they_are_filled_up() -> None:
    short, long = torch.tensor([[3, 0, 7], [1, 2, PAD]]), torch.tensor([[3, 0, 7, PAD, PAD], [1, 2, PAD, PAD, PAD]])
    assert digest(short).dtype == torch.int64 and torch.equal(digest(short), digest(long))
    assert torch.equal(digest(short[1:]), digest(short)[1:])


def test_other_words_another_order_and_another_length_have_other_numbers() -> None:
    ids = torch.cartesian_prod(*[torch.arange(-1, 6)] * 4)
    filled = (ids >= 0).int().cummin(dim=1).values == (ids >= 0)  # nothing after what fills up
    ids = ids[filled.all(dim=1)]
    assert len(ids) == 1 + 6 + 36 + 216 + 1296 and len(digest(ids).unique()) == len(ids)
