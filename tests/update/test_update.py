"""Schedules, slow copies and optimizers."""

import math

import pytest
import torch
from torch import nn

from twinlens.update.optimizers import LARS, optimizer
from twinlens.update.schedules import cosine, warmup_cosine
from twinlens.update.slow import follow, slow_copy


def test_cosine_by_hand() -> None:
    assert cosine(0, 0.9, 1) == pytest.approx(0.9)
    assert cosine(0.5, 0.9, 1) == pytest.approx(0.95)
    assert cosine(1, 0.9, 1) == pytest.approx(1)
    assert cosine(1 / 3, 0, 1) == pytest.approx(0.25)


def test_warmup_rises_to_one_and_ends_at_nothing() -> None:
    assert warmup_cosine(0.05, warmup=0.1) == pytest.approx(0.5)
    assert warmup_cosine(0.1, warmup=0.1) == pytest.approx(1)
    assert warmup_cosine(0.55, warmup=0.1) == pytest.approx(0.5)
    assert warmup_cosine(1, warmup=0.1) == pytest.approx(0)
    assert warmup_cosine(0, warmup=0) == 1


def test_slow_copy_follows_and_takes_no_gradient() -> None:
    fast = nn.Linear(3, 2)
    slow = slow_copy(fast)
    start = slow.weight.clone()
    with torch.no_grad():
        fast.weight.fill_(1.0)
    follow(slow, fast, momentum=0.75)
    torch.testing.assert_close(slow.weight, 0.75 * start + 0.25)
    assert not slow.weight.requires_grad and fast.weight.requires_grad


def test_vectors_are_not_decayed() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    module[0].requires_grad_(True)
    groups = optimizer("adamw", module, rate=0.1, decay=0.5).param_groups
    assert [p.ndim for p in groups[0]["params"]] == [2] and groups[0]["weight_decay"] == 0.5
    assert [p.ndim for p in groups[1]["params"]] == [1, 1, 1] and groups[1]["weight_decay"] == 0


def test_lars_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))  # norm 5
    bias = nn.Parameter(torch.tensor([1.0]))
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "trust": None}]
    lars = LARS(groups, lr=2.0, momentum=0.5, trust=0.01)
    w, v = [3.0, 4.0], [0.0, 0.0]
    for _ in range(2):
        weight.grad, bias.grad = torch.tensor([[1.0, 0.0]]), torch.tensor([0.25])
        direction = [1.0 + 0.1 * w[0], 0.1 * w[1]]
        local = 0.01 * math.hypot(*w) / math.hypot(*direction)
        v = [0.5 * v[i] + 2.0 * local * direction[i] for i in range(2)]
        w = [w[i] - v[i] for i in range(2)]
        lars.step()
    assert weight[0].tolist() == pytest.approx(w)
    assert bias.item() == pytest.approx(1 - 0.5 - 0.75)  # plain momentum: 2 * .25, then half of it more


def test_lars_ignores_the_scale_of_the_gradient() -> None:
    steps = []
    for scale in (1.0, 1000.0):
        weight = nn.Parameter(torch.ones(2, 2))
        weight.grad = scale * torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        LARS([weight], lr=1.0).step()
        steps.append(weight.detach())
    torch.testing.assert_close(*steps)


def test_lars_moves_zero_weights() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    LARS([weight], lr=0.1).step()
    assert (weight < 0).all()
