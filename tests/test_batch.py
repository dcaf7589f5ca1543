"""A batch's views by their size."""

import torch

from twinlens.batch import Batch


def batch(*sizes: int) -> Batch:
    views = tuple(torch.full((3, 1, size, size), float(number)) for number, size in enumerate(sizes))
    return Batch(views, torch.arange(3), torch.arange(3))


def test_views_of_one_size_stand_side_by_side_in_order() -> None:
    large, small = batch(8, 8, 4, 4, 4).by_size()
    assert large.shape == (6, 1, 8, 8) and small.shape == (9, 1, 4, 4)
    assert large[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert small[:, 0, 0, 0].tolist() == [2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_without_small_views_there_is_one_size() -> None:
    (large,) = batch(8, 8).by_size()
    assert torch.equal(large, torch.cat(batch(8, 8).views))
