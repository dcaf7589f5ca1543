"""Counted dropout."""

import pytest
import torch

from twinlens.dropout import Dropout, counted, parted


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_its_share_is_dropped_and_the_mean_stays(share):
    x, drop = torch.ones(64, 1000), Dropout(share)
    with counted(torch.arange(64)):
        y = drop(x)
    level = round(share * 256) / 256
    assert abs((y == 0).float().mean() - level) < 0.01
    torch.testing.assert_close(y[y > 0], torch.full_like(y[y > 0], 1 / (1 - level)))


def test_what_is_dropped_is_a_function_of_key_and_call():
    x, drop = torch.ones(4, 3, 50), Dropout(0.5)
    with counted(torch.arange(4)):
        first, second = drop(x), drop(x)
    with counted(torch.arange(4).flip(0)):
        assert torch.equal(drop(x).flip(0), first)
        assert torch.equal(drop(x).flip(0), second)
    assert not torch.equal(first, second)
    with counted(torch.arange(4)):
        views = drop(torch.cat((x, x)))
    assert torch.equal(views[:4], first)
    assert not torch.equal(views[4:], first)
    rows = first.flatten(1)
    assert not (rows[0] == rows[1]).all()


def test_longer_rows_begin_alike():
    drop = Dropout(0.5)
    with counted(torch.arange(4)):
        short = drop(torch.ones(4, 3, 50))
    with counted(torch.arange(4)):
        assert torch.equal(drop(torch.ones(4, 7, 50))[:, :3], short)


def test_gradients_pass_where_nothing_is_dropped():
    x = torch.ones(2, 40, requires_grad=True)
    with counted(torch.arange(2)):
        y = Dropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_nothing_is_dropped_in_evaluation_and_torch_draws_elsewhere():
    x = torch.ones(8, 100)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    torch.manual_seed(0)
    y = Dropout(0.5)(x)
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.5)(x), y)
    assert not torch.equal(Dropout(0.5)(x), y)


def test_rows_that_are_taken_in_parts_lose_what_they_would_lose_together():
    x, layers = torch.ones(8, 30), [Dropout(0.5), Dropout(0.3)]  # two views of four samples
    with counted(torch.arange(4)):
        whole = layers[1](layers[0](x))
        after = layers[0](x)
    parts = [torch.tensor([5, 0, 2]), torch.tensor([1, 7]), torch.tensor([3, 4, 6])]
    with counted(torch.arange(4)):
        found = torch.cat([layers[1](layers[0](x[rows])) for rows in parted(parts, len(x))])
        assert torch.equal(layers[0](x), after)
    assert torch.equal(found[torch.cat(parts).argsort()], whole)
    assert [rows.tolist() for rows in parted(parts, 8)] == [rows.tolist() for rows in parts]
