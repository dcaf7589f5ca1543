"""Counted randomness: the published hash, its statistics, and that a draw depends on nothing but its place."""

import math

import pytest
import torch
from scipy import stats

from twinlens import random


def words(*values: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(values[0]), torch.tensor(values[1])


@pytest.mark.parametrize(  # the known answers that Random123 publishes for threefry2x32
    ("rounds", "counter", "key", "answer"),
    [
        (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        (13, (0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0xFD36D048, 0x2D17272C)),
        (13, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
        (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        (20, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_answers(
    rounds: int, counter: tuple[int, int], key: tuple[int, int], answer: tuple[int, int]
) -> None:
    a, b = random.threefry(words(*key), words(*counter), rounds)
    assert (int(a), int(b)) == answer


def draws(count: int = 4096, each: int = 64) -> torch.Tensor:
    return random.uniform(random.keys(7, 3, torch.arange(count)), each)


def test_uniform_is_uniform() -> None:
    u = draws()
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3
    counts = torch.histc(u, 256, 0, 1).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3


def test_each_bit_is_fair() -> None:
    b = random.bits(random.keys(0, 0, torch.arange(2**14)), 8)
    share = torch.stack([(b >> bit & 1).double().mean() for bit in range(32)])
    assert (share - 0.5).abs().max() < 5 * 0.5 / math.sqrt(b.numel())


@pytest.mark.parametrize("axis", ["draw", "sample", "epoch", "seed", "fold"])
def test_neighbours_are_independent(axis: str) -> None:
    index = torch.arange(2**15)
    key = random.keys(1, 1, index)
    pairs = {
        "draw": lambda: random.uniform(key, 2).unbind(1),
        "sample": lambda: (random.uniform(key, 1)[1:], random.uniform(key, 1)[:-1]),
        "epoch": lambda: (random.uniform(key, 1), random.uniform(random.keys(1, 2, index), 1)),
        "seed": lambda: (random.uniform(key, 1), random.uniform(random.keys(2, 1, index), 1)),
        "fold": lambda: (random.uniform(random.fold(key, 0), 1), random.uniform(random.fold(key, 1), 1)),
    }
    a, b = (part.flatten() for part in pairs[axis]())
    grid = torch.histogramdd(torch.stack((a, b), dim=1), [16, 16], range=[0.0, 1.0, 0.0, 1.0]).hist
    assert stats.chisquare(grid.flatten().numpy()).pvalue > 1e-3


def test_normal_is_normal() -> None:
    x = random.normal(random.keys(5, 0, torch.arange(2048)), 33)
    assert x.shape == (2048, 33)
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3
    correlation = torch.corrcoef(x.T) - torch.eye(33)
    assert correlation.abs().max() < 5 / math.sqrt(2048)


def test_a_draw_depends_on_its_place_alone() -> None:
    index = torch.tensor([5, 3, 2**40 + 1, 3])
    together = random.uniform(random.fold(random.keys(1, 2, index), 9), 3, 2)
    alone = [random.uniform(random.fold(random.keys(1, 2, index[i : i + 1]), 9), 3, 2) for i in range(4)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together[1], together[3]) and not torch.equal(together[0], together[1])
    assert torch.equal(random.uniform(random.keys(1, 2, index), 5)[:, :2], random.uniform(random.keys(1, 2, index), 2))


def test_sample_indices_beyond_32_bits_differ() -> None:
    a, b = random.keys(0, 0, torch.tensor([1, 2**32 + 1]))
    assert a != b


def test_permutation_holds_everything_once_and_differs_between_epochs() -> None:
    first, second = random.permutation(1000, 0, 0), random.permutation(1000, 0, 1)
    assert torch.equal(first.sort().values, torch.arange(1000))
    assert (first == second).sum() < 10
    assert torch.equal(first, random.permutation(1000, 0, 0))


def test_choose_gives_each_number_equally_often() -> None:
    chosen = random.choose(random.keys(0, 0, torch.arange(4000)), 3, 10)
    assert chosen.shape == (4000, 3)
    assert all(len(set(row)) == 3 for row in chosen[:100].tolist())
    assert stats.chisquare(torch.bincount(chosen.flatten(), minlength=10).numpy()).pvalue > 1e-3
