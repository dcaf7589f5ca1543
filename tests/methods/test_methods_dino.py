"""DINO: its cross entropy, the centre and sharpness of its teacher, its schedules, and a last layer frozen at first."""

import math

import pytest
import torch
from support import build
from torch import Tensor

from twinlens.batch import Batch
from twinlens.methods.dino import DINO
from twinlens.update.schedules import warmed


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bottlenecks(samples: int = 3) -> tuple[Tensor, Tensor]:
    """What a student says of 10 views and a teacher of 2: unit vectors (N, 10, 16) and (N, 2, 16)."""
    s, t = normal(samples, 10, 16, seed=1), normal(samples, 2, 16, seed=2)
    return s / s.norm(dim=-1, keepdim=True), t / t.norm(dim=-1, keepdim=True)


def dino(**settings: object) -> DINO:
    """Float64, at toy size, with a centre and a teacher that is not the student; `settings` are set afterwards."""
    method = build(DINO).double()
    method.center.copy_(0.1 * normal(16, seed=3))
    method.prototypes_t.weight.copy_(normal(16, 16, seed=4))
    for name, value in settings.items():
        setattr(method, name, value)
    return method


def softmax(logits: list[float]) -> list[float]:
    exps = [math.exp(x - max(logits)) for x in logits]
    return [e / sum(exps) for e in exps]


def outputs(x: Tensor, weight: Tensor) -> list[float]:
    """The last layer, whose rows have length 1."""
    return [sum(float(a * b) for a, b in zip(x, row, strict=True)) / float(row.norm()) for row in weight.detach()]


def test_the_loss_is_equation_3() -> None:
    method, (s, t) = dino(), bottlenecks()
    method.progress.fill_(0.05)  # half way through the warm-up: 0.055
    total, terms = 0.0, 0
    for n in range(3):
        for i in range(2):
            centred = [
                g - float(c) for g, c in zip(outputs(t[n, i], method.prototypes_t.weight), method.center, strict=True)
            ]
            p_t = softmax([g / 0.055 for g in centred])
            for v in (v for v in range(10) if v != i):
                p_s = softmax([g / 0.1 for g in outputs(s[n, v], method.prototypes.weight)])
                total -= sum(a * math.log(b) for a, b in zip(p_t, p_s, strict=True))
                terms += 1
    assert terms == 3 * 2 * 9
    assert method.compare(s, t).item() == pytest.approx(total / terms, rel=1e-6)  # progress is float32


def test_the_loss_is_log_k_for_a_student_without_preference() -> None:
    method, (s, t) = dino(), bottlenecks()
    assert method.compare(torch.zeros_like(s), t).item() == pytest.approx(math.log(16))


def test_the_loss_knows_no_order_of_samples_nor_of_small_views() -> None:
    method, (s, t) = dino(), bottlenecks()
    loss = method.compare(s, t)
    torch.testing.assert_close(method.compare(s.flip(0), t.flip(0)), loss)
    torch.testing.assert_close(method.compare(s[:, [1, 0, *range(9, 1, -1)]], t.flip(1)), loss)
    assert not torch.allclose(method.compare(s, t.flip(1)), loss)  # a large view does not predict itself
    method.center += 3.0  # the same for all outputs
    torch.testing.assert_close(method.compare(s, t), loss)


def test_gradients_are_those_of_a_plain_computation() -> None:
    method, (s, t) = dino(freeze=0.0), bottlenecks()
    s.requires_grad_()
    loss = method.compare(s, t)
    found = torch.autograd.grad(loss, (s, method.prototypes.weight))
    w = method.prototypes.weight / method.prototypes.weight.norm(dim=1, keepdim=True)
    w_t = method.prototypes_t.weight / method.prototypes_t.weight.norm(dim=1, keepdim=True)
    p_t, log_p = ((t @ w_t.T - method.center) / 0.04).softmax(-1), (s @ w.T / 0.1).log_softmax(-1)
    pairs = [(i, v) for i in range(2) for v in range(10) if v != i]
    plain = torch.stack([-(p_t[:, i] * log_p[:, v]).sum(1).mean() for i, v in pairs]).mean()
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=0)
    for one, other in zip(found, torch.autograd.grad(plain, (s, method.prototypes.weight)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_the_centre_is_the_moving_average_of_the_teachers_outputs() -> None:
    method, (s, t) = dino(), bottlenecks()
    before = method.center.tolist()
    each = [outputs(t[n, i], method.prototypes_t.weight) for n in range(3) for i in range(2)]
    expected = [0.9 * c + 0.1 * sum(row[k] for row in each) / 6 for k, c in enumerate(before)]
    method.update(0.5, s, t)
    torch.testing.assert_close(method.center, torch.tensor(expected).double())


def test_a_centred_teacher_that_says_the_same_of_everything_says_nothing() -> None:
    method, (s, t) = dino(center_momentum=0.0), bottlenecks()
    same = t[:1, :1].expand_as(t)
    method.momentum = 1.0  # the teacher stays, its centre is replaced
    method.update(0.0, s, same)
    log_p = (s @ (method.prototypes.weight / method.prototypes.weight.norm(dim=1, keepdim=True)).T / 0.1).log_softmax(
        -1
    )
    weights = torch.tensor([1.0, 1.0, *[2.0] * 8]).double() / 18
    torch.testing.assert_close(method.compare(s, same), -(log_p.mean(-1) @ weights).mean())


def test_the_teacher_takes_no_gradient_and_its_target_none() -> None:
    method = build(DINO)
    batch = Batch(tuple(torch.randn(10, 3, 3, 8, 8)), torch.arange(3), torch.arange(3))
    s, t = method.encode(batch)
    assert s.requires_grad and not t.requires_grad
    t.requires_grad_()
    method.compare(s, t).backward()
    assert t.grad is None
    slow = [*method.teacher.parameters(), *method.prototypes_t.parameters()]
    assert slow and not any(parameter.requires_grad or parameter.grad is not None for parameter in slow)


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_the_teacher_follows_with_the_scheduled_momentum(progress: float, momentum: float) -> None:
    method, (s, t) = dino(momentum=0.9), bottlenecks()
    with torch.no_grad():
        for parameter in (*method.student.parameters(), *method.prototypes.parameters()):
            parameter.add_(1.0)
    slow, fast = ([*a.parameters(), *b.parameters()] for a, b in ((method.teacher, method.prototypes_t),
                                                                  (method.student, method.prototypes)))  # fmt: skip
    before = [parameter.clone() for parameter in slow]
    method.update(progress, s, t)
    for old, new, online in zip(before, slow, fast, strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * online)


@pytest.mark.parametrize(("progress", "tau"), [(0.0, 0.04), (0.05, 0.055), (0.1, 0.07), (0.5, 0.07), (1.0, 0.07)])
def test_the_teachers_temperature_warms_up_and_is_kept_for_the_next_step(progress: float, tau: float) -> None:
    assert warmed(torch.tensor(progress), 0.04, 0.07, 0.1).item() == pytest.approx(tau)
    assert warmed(torch.tensor(progress), 0.04, 0.07, 0.0).item() == pytest.approx(0.07)
    method, (s, t) = dino(momentum=1.0, center_momentum=1.0), bottlenecks()
    method.update(progress, s, t)
    fresh = build(DINO, seed=5).double()
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(fresh.compare(s, t), method.compare(s, t))
    fixed = dino(warmup=(tau, tau, 0.0))
    torch.testing.assert_close(method.compare(s, t), fixed.compare(s, t), rtol=1e-5, atol=0)


def test_the_last_layer_stands_still_at_first_and_learns_afterwards() -> None:
    method, (s, t) = dino(freeze=0.25), bottlenecks()
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0, momentum=0.9)
    start = method.prototypes.weight.detach().clone()
    for step in range(8):
        optimizer.zero_grad()
        method.compare(s.requires_grad_(), t).backward()
        assert (
            method.prototypes.weight.grad is not None
        )  # also while frozen: the reducer of several processes waits for it
        optimizer.step()
        method.update((step + 1) / 8, s.detach(), t)
        assert torch.equal(method.prototypes.weight, start) == (step < 2)  # progress before the step: 0, 1/8, then 2/8


def test_views_of_one_size_run_in_one_forward_and_the_teacher_sees_large_ones_alone() -> None:
    method = build(DINO)
    seen: dict[str, list[tuple[int, ...]]] = {"student": [], "teacher": []}
    for name, shapes in seen.items():
        network = getattr(method, name)
        network[0].register_forward_hook(lambda module, given, out, shapes=shapes: shapes.append(given[0].shape))
    large, small = torch.randn(2, 3, 3, 8, 8), torch.randn(8, 3, 3, 4, 4)
    s, t = method.encode(Batch((*large, *small), torch.arange(3), torch.arange(3)))
    assert seen == {"student": [(6, 3, 8, 8), (24, 3, 4, 4)], "teacher": [(6, 3, 8, 8)]}
    assert s.shape == (3, 10, 16) and t.shape == (3, 2, 16)
    torch.testing.assert_close(s[:, :2], t)  # teacher and student start equal
    alone = method.student(small[4])
    torch.testing.assert_close(s[:, 6], alone / alone.norm(dim=1, keepdim=True))


def test_the_student_s_outputs_are_not_kept_for_all_views() -> None:
    method, (s, t) = dino(), bottlenecks(samples=50)
    kept: set[int] = set()

    def pack(x: Tensor) -> Tensor:
        if x.shape == (50, 16) and x.untyped_storage().nbytes() == 50 * 16 * 8:  # (N, K), by itself
            kept.add(x.data_ptr())
        return x

    s.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        method.compare(s, t)
    assert len(kept) <= 10  # the targets; without making them anew, logits and softmaxes of every view too
