"""Schedules, slow copies and optimizers."""

import math
from typing import Any

import pytest
import torch
from support import build, feed
from torch import nn

from twinlens import distributed
from twinlens.method import Method
from twinlens.methods.byol import BYOL
from twinlens.methods.simsiam import SimSiam
from twinlens.rate import Rate, with_rate
from twinlens.train import Training, train
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


def test_parts_with_a_rate_of_their_own_are_groups_of_their_own() -> None:
    inner, plain = with_rate(nn.Linear(3, 3), Rate(fixed=True)), nn.Linear(3, 3)
    outer = with_rate(nn.Sequential(nn.Linear(3, 3), inner, nn.LayerNorm(3)), Rate(factor=4.0))
    frozen = nn.Linear(3, 3).requires_grad_(False)
    module = nn.Sequential(plain, outer, frozen)
    groups = optimizer("lars", module, rate=0.1, decay=0.5).param_groups
    held = {id(p): group for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(held) == 8
    expected = {plain: (1.0, False), outer[0]: (4.0, False), inner: (1.0, True), outer[2]: (4.0, False)}
    for part, (factor, fixed) in expected.items():
        for parameter in part.parameters():
            group = held[id(parameter)]
            assert (group["factor"], group["fixed"], group["lr"]) == (factor, fixed, 0.1 * factor)
            assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0)
            assert group["trust"] == (0.001 if parameter.ndim > 1 else None)


def rates(method: Method, part: nn.Module) -> tuple[list[float], list[float]]:
    """The rates of three steps of plain training, those of `part` and those of all else."""
    fabric, training = distributed.launch(1, "32-true"), Training(epochs=1.5, batch=12, rate=0.1, warmup=0.0)
    moved = optimizer("sgd", method, rate=training.rate, decay=0.0)
    own = {id(parameter) for parameter in part.parameters()}
    found: tuple[list[float], list[float]] = [], []
    model: Any = fabric.setup_module(method)
    for _ in train(fabric, model, moved, feed(type(method)), training):
        for within in (True, False):
            (rate,) = {g["lr"] for g in moved.param_groups for p in g["params"] if (id(p) in own) == within}
            found[not within].append(rate)
    return found


COSINE = [0.1 * (1 + math.cos(math.pi * progress)) / 2 for progress in (1 / 6, 3 / 6, 5 / 6)]


@pytest.mark.parametrize("fixed", [True, False])
def test_simsiams_predictor_keeps_its_rate_while_the_others_fall(fixed: bool) -> None:
    method = SimSiam(build(SimSiam).f[0], hidden=16, dim=16, bottleneck=16, fixed_predictor=fixed)  # type: ignore[index]
    predictor, others = rates(method, method.h)
    assert others == pytest.approx(COSINE)
    assert predictor == pytest.approx([0.1] * 3 if fixed else COSINE)


def test_byols_predictor_can_be_faster() -> None:
    method = BYOL(build(BYOL).online[0], hidden=16, dim=16, predictor_rate=10.0)  # type: ignore[index]
    predictor, others = rates(method, method.predict)
    assert others == pytest.approx(COSINE)
    assert predictor == pytest.approx([10 * rate for rate in COSINE])


def test_a_step_is_as_long_as_the_rate_of_its_group() -> None:
    slow, fast = nn.Linear(2, 2), with_rate(nn.Linear(2, 2), Rate(factor=3.0))
    moved = optimizer("sgd", nn.ModuleList([slow, fast]), rate=0.1, decay=0.0)
    before = [module.weight.detach().clone() for module in (slow, fast)]
    for parameter in (*slow.parameters(), *fast.parameters()):
        parameter.grad = torch.ones_like(parameter)
    moved.step()
    for module, start, length in zip((slow, fast), before, (0.1, 0.3), strict=True):
        torch.testing.assert_close(module.weight, start - length)


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


@pytest.mark.parametrize(("name", "key", "expected"), [("adamw", "betas", (0.5, 0.999)), ("sgd", "momentum", 0.5)])
def test_a_part_may_have_a_momentum_of_its_own(name: Any, key: str, expected: Any) -> None:
    part = with_rate(nn.Linear(2, 2), Rate(momentum=0.5))
    found = optimizer(name, nn.Sequential(part, nn.Linear(2, 2)), rate=1.0, decay=0.0)
    own = {id(parameter) for parameter in part.parameters()}
    for group in found.param_groups:
        mine = {id(parameter) for parameter in group["params"]} <= own
        assert (group[key] == expected) == mine
