"""Two towers: each view goes to its own, and both end in one space."""

import pytest
import torch
from torch import nn

from twinlens.encoders.contract import PairEncoder
from twinlens.encoders.sequence import words
from twinlens.encoders.towers import Towers
from twinlens.encoders.vit import vit
from twinlens.errors import InputError


def towers(dim: int = 6) -> Towers:
    torch.manual_seed(0)
    return Towers(
        vit(3, 8, patch=2, width=8, depth=1, heads=2), words(9, 5, width=12, depth=1, heads=2), shared=dim
    ).eval()  # fmt: skip


def test_a_view_goes_through_its_tower_and_its_projection() -> None:
    both, pictures, texts = towers(), torch.randn(4, 3, 8, 8), torch.randint(9, (4, 5))
    assert isinstance(both, PairEncoder) and both.dim == 6
    torch.testing.assert_close(both(pictures), both.image(pictures) @ both.project_image.weight.T)
    torch.testing.assert_close(both(texts), both.text(texts) @ both.project_text.weight.T)
    assert both.project_image.weight.shape == (6, 8) and both.project_text.weight.shape == (6, 12)


def test_each_view_teaches_its_own_tower_alone() -> None:
    both = towers()
    both(torch.randn(4, 3, 8, 8)).square().sum().backward()
    assert all((p.grad is not None) == ("image" in name) for name, p in both.named_parameters())


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(InputError, match="the space that two towers share is 0 wide: expected 1 or more"):
        towers(0)
    with pytest.raises(InputError, match="an encoder needs an int attribute dim"):
        Towers(nn.Flatten(), nn.Flatten(), shared=4)
