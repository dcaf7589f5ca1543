"""The speller: each word from the code and those before, and from nothing else."""

import pytest
import torch

from twinlens.batch import PAD
from twinlens.errors import InputError
from twinlens.heads.speller import Speller


def speller() -> Speller:
    torch.manual_seed(0)
    return Speller(5, 9, 7, width=8, depth=2, heads=2).double()


def test_a_word_is_said_from_the_code_and_the_words_before() -> None:
    head, code, ids = speller(), torch.randn(3, 5, dtype=torch.float64), torch.randint(9, (3, 6))
    said = head(code, ids)
    assert said.shape == (3, 6, 9)
    for place in range(6):
        other = ids.clone()
        other[:, place] = (other[:, place] + 1) % 9
        same = (head(code, other) - said).abs().amax(dim=2) < 1e-12
        assert torch.equal(same, (torch.arange(6) <= place).expand(3, -1))
    assert ((head(code + 1, ids) - said).abs().amax(dim=2) > 1e-3).all()


def test_what_fills_a_row_up_changes_nothing() -> None:
    head, code, ids = speller(), torch.randn(3, 5, dtype=torch.float64), torch.randint(9, (3, 4))
    filled = torch.cat((ids, torch.full((3, 3), PAD)), dim=1)
    torch.testing.assert_close(head(code, filled)[:, :4], head(code, ids))


def test_cross_attention_to_one_key_is_a_linear_map_of_it() -> None:
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    x, code = torch.randn(3, 6, 8, dtype=torch.float64), torch.randn(3, 1, 8, dtype=torch.float64)
    mixed, _ = attention(x, code, code)
    value = code @ attention.in_proj_weight[16:].T + attention.in_proj_bias[16:]
    torch.testing.assert_close(mixed, attention.out_proj(value).expand(-1, 6, -1))


def test_every_parameter_learns() -> None:
    head = speller()
    head(torch.randn(3, 5, dtype=torch.float64), torch.randint(9, (3, 7))).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


@pytest.mark.parametrize("settings", [{"width": 9, "depth": 1, "heads": 2}, {"width": 8, "depth": 0, "heads": 2}])
def test_what_cannot_be_is_said(settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected a multiple, and 1"):
        Speller(5, 9, 7, **settings)
