"""SwAV: its codes, its swapped prediction, its queue, and prototypes that stand still at first."""

import math

import pytest
import torch
from support import build
from torch import Tensor

from twinlens.batch import Batch
from twinlens.methods.swav import SwAV, sinkhorn


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def embeddings(samples: int = 5, views: int = 8, seed: int = 1) -> Tensor:
    """Unit vectors (N, V, 16), float64."""
    z = normal(samples, views, 16, seed=seed)
    return z / z.norm(dim=-1, keepdim=True)


def swav(**settings: float) -> SwAV:
    """Float64, at toy size; `settings` are set afterwards."""
    method = build(SwAV).double()
    with torch.no_grad():
        method.prototypes.div_(method.prototypes.norm(dim=1, keepdim=True))  # of length 1 in float64 too
    for name, value in settings.items():
        setattr(method, name, value)
    return method


def codes_by_loop(scores: list[list[float]], epsilon: float, iterations: int) -> list[list[float]]:
    """Appendix A.1's rescaling of rows and columns, a number at a time: scores of B samples with K prototypes."""
    q = [[math.exp(score / epsilon) for score in row] for row in scores]
    for _ in range(iterations):
        for k in range(len(q[0])):
            total = sum(row[k] for row in q)
            for row in q:
                row[k] /= len(q[0]) * total
        for row in q:
            total = sum(row)
            row[:] = [x / (len(q) * total) for x in row]
    return [[x / sum(row) for x in row] for row in q]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def loss_by_loop(method: SwAV, z: Tensor, queues: list[Tensor]) -> float:
    """Equation 6 with equation 2 inside, a number at a time."""
    c = method.prototypes.tolist()
    total, terms = 0.0, 0
    for i in range(2):
        scores = [[dot(x, p) for p in c] for x in [*queues[i].tolist(), *z[:, i].tolist()]]
        codes = codes_by_loop(scores, method.epsilon, method.iterations)[len(queues[i]) :]
        for v in (v for v in range(z.shape[1]) if v != i):
            for n, q in enumerate(codes):
                logits = [dot(z[n, v].tolist(), p) / method.temperature for p in c]
                norm = math.log(sum(math.exp(x) for x in logits))
                total -= sum(a * (x - norm) for a, x in zip(q, logits, strict=True))
                terms += 1
    return total / terms


@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn_is_the_papers_rescaling_of_rows_and_columns(iterations: int) -> None:
    scores = normal(6, 4).clamp(-1, 1)
    by_loop = codes_by_loop(scores.tolist(), 0.1, iterations)
    torch.testing.assert_close(sinkhorn(scores, epsilon=0.1, iterations=iterations), torch.tensor(by_loop).double())


def test_sinkhorn_has_the_right_marginals() -> None:
    scores = normal(12, 5)
    few = sinkhorn(scores, epsilon=0.5, iterations=3)
    torch.testing.assert_close(few.sum(1), torch.ones(12).double())
    none = (scores / 0.5).softmax(1)
    assert (few.sum(0) - 12 / 5).abs().max() < (none.sum(0) - 12 / 5).abs().max() / 4
    many = sinkhorn(scores, epsilon=0.5, iterations=500)
    torch.testing.assert_close(many.sum(1), torch.ones(12).double())
    torch.testing.assert_close(many.sum(0), torch.full((5,), 12 / 5).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_sinkhorn_stays_exact_for_extreme_scores(dtype: torch.dtype) -> None:
    order = torch.arange(6).repeat(2)
    scores = (-3e4 * torch.ones(12, 6)).scatter(1, order[:, None], 3e4).to(dtype)  # each its own prototype, and loudly
    codes = sinkhorn(scores, epsilon=0.05, iterations=3)
    assert codes.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(codes, torch.eye(6).repeat(2, 1).to(codes))
    loud = torch.full((12, 6), -3e4, dtype=dtype)
    loud[:, 0] = 3e4  # all of them shout for one prototype: they have to share
    torch.testing.assert_close(sinkhorn(loud, epsilon=0.05, iterations=3), torch.full_like(codes, 1 / 6))
    wild = sinkhorn(3e4 * normal(12, 6).clamp(-1, 1).to(dtype), epsilon=0.05, iterations=3)
    assert wild.isfinite().all()
    torch.testing.assert_close(wild.sum(1), torch.ones(12).to(wild))


def test_sinkhorn_known_by_hand() -> None:
    codes = sinkhorn(torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double(), epsilon=1.0, iterations=1)
    high = math.e / (1 + math.e)
    torch.testing.assert_close(codes, torch.tensor([[high, 1 - high], [1 - high, high]]).double())


def test_sinkhorn_forgets_what_a_prototype_has_for_all() -> None:
    scores, shift = normal(7, 4), normal(4, seed=1)
    before, after = (sinkhorn(x, epsilon=0.2, iterations=3) for x in (scores, scores + shift))
    torch.testing.assert_close(before, after)


def test_the_loss_is_equation_6() -> None:
    method, z = swav(), embeddings()
    none = torch.empty(0, 16)
    assert method.compare(z, torch.arange(5)).item() == pytest.approx(loss_by_loop(method, z, [none, none]))


def test_the_queue_joins_the_assignment_once_its_time_has_come() -> None:
    method, old, z = swav(queue_start=0.5), embeddings(3, seed=2), embeddings()
    index = torch.arange(5)
    alone = method.compare(z, index).item()
    method.update(0.4, old, torch.arange(3))
    assert method.compare(z, index).item() == pytest.approx(alone, rel=1e-12)  # prototypes were made unit anew
    method.update(0.5, old, torch.arange(3))
    queues = [torch.cat((old[:, i], old[:, i])) for i in range(2)]  # pushed twice; what was never written stays out
    joined = method.compare(z, index).item()
    assert joined == pytest.approx(loss_by_loop(method, z, queues))
    assert joined != pytest.approx(alone)


def test_the_loss_is_log_k_where_prototypes_tell_nothing() -> None:
    method = swav()
    with torch.no_grad():
        method.prototypes.copy_(method.prototypes[:1].expand_as(method.prototypes))
    assert method.compare(embeddings(), torch.arange(5)).item() == pytest.approx(math.log(16))


def test_the_order_of_samples_of_large_and_of_small_views_does_not_matter() -> None:
    method, z, index = swav(), embeddings(), torch.arange(5)
    loss = method.compare(z, index)
    torch.testing.assert_close(method.compare(z.flip(0), index), loss)
    torch.testing.assert_close(method.compare(z[:, [1, 0, 2, 3, 4, 5, 6, 7]], index), loss)
    torch.testing.assert_close(method.compare(z[:, [0, 1, 7, 6, 5, 4, 3, 2]], index), loss)
    assert not torch.allclose(
        method.compare(z[:, [2, 1, 0, 3, 4, 5, 6, 7]], index), loss
    )  # codes are of the large ones


def test_codes_take_no_gradient() -> None:
    method, z = swav(), embeddings().requires_grad_()
    (seen,) = torch.autograd.grad(method.compare(z, torch.arange(5)), z)
    c = method.prototypes.detach()
    codes = [sinkhorn(z[:, i].detach() @ c.T, epsilon=0.05, iterations=3) for i in range(2)]
    targets = [codes[1], codes[0], *[(codes[0] + codes[1])] * 6]
    for v, target in enumerate(targets):  # d/dz of a cross entropy: (p sum q - q) C / temperature
        p = (z[:, v].detach() @ c.T / method.temperature).softmax(1)
        expected = (p * target.sum(1, keepdim=True) - target) @ c / method.temperature / (5 * 14)
        torch.testing.assert_close(seen[:, v], expected)


def test_prototypes_stand_still_at_first_and_learn_afterwards() -> None:
    method, z, index = swav(freeze=0.25), embeddings(), torch.arange(5)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    start = method.prototypes.detach().clone()
    for step in range(8):
        optimizer.zero_grad()
        method.compare(z, index).backward()
        assert method.prototypes.grad is not None  # also while they are frozen: the reducer of several processes waits
        optimizer.step()
        method.update((step + 1) / 8, z, index)
        moved = (method.prototypes - start).abs().max().item()
        assert moved < 1e-12 if step < 2 else moved > 1e-3  # progress before the step: 0, 1/8, then 2/8
        torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(16).double())


def test_whether_prototypes_are_frozen_and_the_queue_used_survives_saving() -> None:
    method, z, index = swav(freeze=0.25, queue_start=0.25), embeddings(), torch.arange(5)
    method.update(0.5, embeddings(seed=3), index)
    fresh = swav(freeze=0.25, queue_start=0.25)
    fresh.load_state_dict(method.state_dict())
    method.compare(z, index).backward()
    fresh.compare(z, index).backward()
    assert torch.equal(method.prototypes.grad, fresh.prototypes.grad)
    assert (method.prototypes.grad != 0).any()


def test_views_of_one_size_run_in_one_forward() -> None:
    method, seen = build(SwAV), []
    method.encoder.register_forward_hook(lambda module, given, out: seen.append((tuple(given[0].shape), out)))
    large, small = torch.randn(2, 3, 3, 8, 8), torch.randn(6, 3, 3, 4, 4)
    z, index = method.encode(Batch((*large, *small), torch.arange(3), torch.arange(3)))
    assert [shape for shape, _ in seen] == [(6, 3, 8, 8), (18, 3, 4, 4)]
    assert z.shape == (3, 8, 16) and torch.equal(index, torch.arange(3))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(3, 8))
    projected = method.project(torch.cat([out for _, out in seen])).view(8, 3, 16)
    torch.testing.assert_close(z[2, 5], projected[5, 2] / projected[5, 2].norm())
