"""Texts of like lengths that are embedded together."""

import pytest
import torch

from twinlens.dropout import counted
from twinlens.encoders import lengths
from twinlens.encoders.sequence import words

VIEW = torch.arange(2, 82).reshape(8, 10) % 50
VIEW = VIEW.masked_fill(torch.arange(10) >= torch.tensor([3, 9, 1, 4, 10, 0, 2, 5])[:, None], -1)


def seen(encoder: torch.nn.Module) -> list[tuple[int, int]]:
    shapes: list[tuple[int, int]] = []
    encoder.get_submodule("body").register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape[:2])))
    return shapes


def test_in_training_words_go_by_length_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = words(50, 10, width=8, depth=2, heads=2, dropout=0.25).double().train()
    for weight in encoder.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, 0.2, 0.3)
    shapes, weights = seen(encoder), [weight for weight in encoder.parameters() if weight.requires_grad]
    found = []
    for together in (100, 3):
        monkeypatch.setattr(lengths, "_TOGETHER", together)
        with counted(torch.arange(8)):
            z = encoder(VIEW)
        found.append((z.detach(), torch.autograd.grad(z.square().sum(), weights)))
    assert shapes == [(8, 10), (3, 2), (3, 5), (2, 10)]
    (whole, all_at_once), (parted, in_groups) = found
    assert whole.isfinite().all() and not torch.equal(whole, encoder.eval()(VIEW))  # something is dropped
    torch.testing.assert_close(parted, whole)
    for one, other in zip(in_groups, all_at_once, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("pool", "training", "view"), [(False, True, VIEW), (True, False, VIEW), (True, True, VIEW.abs())]
)
def test_elsewhere_all_go_at_once(
    pool: bool, training: bool, view: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lengths, "_TOGETHER", 3)
    encoder = words(50, 10, width=8, depth=1, heads=2, pool=pool).train(training)
    shapes = seen(encoder)
    encoder(view)
    assert shapes == [(8, 10)]
