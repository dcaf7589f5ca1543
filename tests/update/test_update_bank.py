"""The memory bank: its blend against plain loops and by hand, its draws against what is uniform."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from twinlens import random
from twinlens.errors import InputError
from twinlens.losses import info_nce
from twinlens.update.bank import MemoryBank


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def loops(rows: list[list[float]], index: list[int], z: list[list[float]], m: float) -> list[list[float]]:
    """One sample at a time, each with all of its rows."""
    result = list(rows)
    for sample in set(index):
        own = [unit(row) for place, row in zip(index, z, strict=True) if place == sample]
        mean = [sum(column) / len(own) for column in zip(*own, strict=True)]
        result[sample] = unit([m * v + (1 - m) * x for v, x in zip(rows[sample], mean, strict=True)])
    return result


@settings(deadline=None, max_examples=30)
@given(
    index=st.lists(st.integers(0, 6), max_size=12),
    dim=st.integers(2, 4),
    momentum=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)
def test_blend_equals_loops_with_samples_that_occur_twice(
    index: list[int], dim: int, momentum: float, seed: int
) -> None:
    torch.manual_seed(seed)
    bank, z, places = MemoryBank(7, dim), draw(seed, len(index), dim), torch.tensor(index, dtype=torch.int64)
    expected = torch.tensor(loops(bank.rows.tolist(), index, z.tolist(), momentum))
    reverse, before = MemoryBank(7, dim), bank.rows.clone()
    reverse.load_state_dict(bank.state_dict())
    bank.blend(places, z, momentum=momentum)
    torch.testing.assert_close(bank.rows, expected)
    untouched = [sample for sample in range(7) if sample not in index]
    assert bank.rows[untouched].equal(before[untouched])
    reverse.blend(places.flip(0), 4 * z.flip(0), momentum=momentum)  # neither order nor length matters
    torch.testing.assert_close(reverse.rows, bank.rows)


def test_blend_by_hand() -> None:
    bank = MemoryBank(3, 2)
    bank.rows.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    bank.blend(torch.tensor([2, 1]), torch.tensor([[0.0, 5.0], [0.0, 2.0]]))
    half = math.sqrt(0.5)
    torch.testing.assert_close(bank.rows, torch.tensor([[1.0, 0.0], [0.0, 1.0], [half, half]]))
    bank.blend(torch.tensor([0]), torch.tensor([[0.0, -1.0]]), momentum=0.8)  # (0.8, -0.2) / sqrt(0.68)
    torch.testing.assert_close(bank.rows[0], torch.tensor([0.8, -0.2]) / math.sqrt(0.68))


def test_blend_takes_no_gradient_and_any_precision() -> None:
    bank, z = MemoryBank(4, 8), (100 * draw(0, 4, 8)).half().requires_grad_()
    bank.blend(torch.arange(4), z, momentum=0.0)
    torch.testing.assert_close(bank.rows, torch.nn.functional.normalize(z.detach().float()))
    assert not bank.rows.requires_grad and bank.rows.dtype == torch.float32


def test_starts_as_random_directions_of_the_seed() -> None:
    banks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        banks.append(MemoryBank(500, 4))
    torch.testing.assert_close(banks[0].rows.norm(dim=1), torch.ones(500))
    assert banks[0].rows.mean(0).norm() < 0.15
    assert banks[0].rows.equal(banks[1].rows) and not banks[0].rows.equal(banks[2].rows)


def test_goes_on_from_a_checkpoint() -> None:
    bank, other = MemoryBank(5, 2), MemoryBank(5, 2)
    bank.blend(torch.arange(3), draw(0, 3, 2))
    other.load_state_dict(bank.state_dict())
    assert set(bank.state_dict()) == {"rows"} and other.rows.equal(bank.rows)


def keys(index: Tensor) -> Tensor:
    return random.fold(random.keys(0, 1, index), 9)


def test_draws_are_uniform_over_all_rows_but_the_samples_own() -> None:
    index = torch.arange(7).repeat(1000)
    key = keys(torch.arange(7000))
    place = MemoryBank(7, 2).draw(index, 5, key)
    assert place.shape == (7000, 5) and place.dtype == torch.int64
    for sample in range(7):
        counts = place[index == sample].flatten().bincount(minlength=7).tolist()
        assert counts.pop(sample) == 0
        assert stats.chisquare(counts).pvalue > 1e-4


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(2, 9), count=st.integers(1, 12), seed=st.integers(0, 1000))
def test_a_draw_depends_on_its_sample_and_key_alone(rows: int, count: int, seed: int) -> None:
    bank, index = MemoryBank(rows, 2), torch.arange(rows)
    key = random.keys(seed, 0, index)
    place = bank.draw(index, count, key)
    others = rows - 1
    for i, words in enumerate(random.bits(key, count).tolist()):
        rest = [row for row in range(rows) if row != i]
        assert place[i].tolist() == [rest[word * others // 2**32] for word in words]
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    assert bank.draw(index[order], count, key[order]).equal(place[order])


def test_as_positives_and_negatives_of_info_nce() -> None:
    bank, index, q = MemoryBank(6, 3), torch.tensor([4, 1]), draw(0, 2, 3).requires_grad_()
    place = bank.draw(index, 3, keys(index))
    loss = info_nce(q, bank.rows[index], bank.rows[place], temperature=0.5)
    bank.blend(index, q)  # indexing copied the rows: the backward still sees those of the forward
    loss.backward()
    assert loss.isfinite() and q.grad is not None and q.grad.isfinite().all()


BANK = MemoryBank(4, 2)
KEY = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MemoryBank(0, 2), r"count is 0 and dim 2: expected 1 or more"),
        (lambda: BANK.blend(torch.tensor([0, 4]), torch.ones(2, 2)), r"index holds 4: .* from 0 to 3; make the bank"),
        (lambda: BANK.draw(torch.tensor([-1, 0]), 2, KEY), r"index holds -1: expected places in the data from 0 to 3"),
        (lambda: BANK.blend(torch.tensor([0.0]), torch.ones(1, 2)), r"torch.float32: expected \(N,\) integers"),
        (lambda: BANK.blend(torch.tensor([True]), torch.ones(1, 2)), r"torch.bool: expected \(N,\) integers"),
        (lambda: BANK.draw(torch.tensor([[0]]), 2, KEY), r"index has shape \(1, 1\)"),
        (lambda: BANK.blend(torch.tensor([0]), torch.ones(2, 2)), r"z has shape \(2, 2\): expected \(1, 2\)"),
        (lambda: BANK.blend(torch.tensor([0]), torch.ones(1, 2), momentum=1.5), r"momentum is 1.5: expected a share"),
        (lambda: BANK.draw(torch.tensor([0, 1]), 0, KEY), r"0 negatives of a bank of 4 rows"),
        (lambda: MemoryBank(1, 2).draw(torch.tensor([0, 0]), 1, KEY), r"1 negatives of a bank of 1 rows"),
        (lambda: BANK.draw(torch.tensor([0]), 1, KEY), r"key has shape \(2,\): expected \(1,\)"),
    ],
)
def test_says_what_is_wrong(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
