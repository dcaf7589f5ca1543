"""MoCo v2 against loops, by hand, and what its queue and its slow copy hold when."""

import math

import pytest
import torch
from support import build, feed
from torch import Tensor, nn

from twinlens import discover
from twinlens.batch import Batch
from twinlens.methods.mocov2 import MoCoV2
from twinlens.update.queue import Queue


def cosine(a: list[float], b: list[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def loss_by_loops(q: Tensor, k: Tensor, rows: Tensor, own: list[set[int]], tau: float) -> float:
    """Equation 1 of 1911.05722; `own` names the rows that are no negatives of each query."""
    total = 0.0
    for i, (a, b) in enumerate(zip(q.tolist(), k.tolist(), strict=True)):
        positive = math.exp(cosine(a, b) / tau)
        negatives = sum(math.exp(cosine(a, r) / tau) for j, r in enumerate(rows.tolist()) if j not in own[i])
        total -= math.log(positive / (positive + negatives))
    return total / len(q)


def test_negatives_are_the_queues_other_samples() -> None:
    method = build(MoCoV2).double()
    q, k, earlier = torch.randn(3, 5, 16, dtype=torch.float64)
    expected = loss_by_loops(q, k, method.queue.rows, [set()] * 5, 0.2)
    assert float(method.compare(q, k, torch.arange(5))) == pytest.approx(expected)
    method.queue.push(earlier, torch.tensor([3, 9, 1, 3, 8]))
    own = [set(), {2}, set(), {0, 3}, set()]
    expected = loss_by_loops(q, k, method.queue.rows, own, 0.2)
    assert float(method.compare(q, k, torch.arange(5))) == pytest.approx(expected)


def test_known_by_hand() -> None:
    method = build(MoCoV2)
    axes = torch.eye(16)
    method.queue.push(axes[2:].repeat(2, 1)[:16])  # 16 rows at right angles to the first two axes
    q = axes[:2]
    index = torch.arange(2)
    assert float(method.compare(q, q, index)) == pytest.approx(math.log(1 + 16 * math.exp(-1 / 0.2)))
    assert float(method.compare(q, q.flip(0), index)) == pytest.approx(math.log(17))


def test_aligned_is_less_than_random_is_less_than_opposite() -> None:
    compare, (q, k), index = build(MoCoV2).compare, torch.randn(2, 32, 16), torch.arange(32)
    assert compare(q, 3 * q, index) < compare(q, k, index) < compare(q, -q, index)


def test_the_first_view_asks_and_the_second_answers_without_gradient() -> None:
    method, index = build(MoCoV2), torch.arange(4)
    first, second, other = torch.randn(3, 4, 3, 8, 8)
    q, k, ids = method.encode(Batch((first, second), index, index))
    assert q.requires_grad and not k.requires_grad and ids is index
    torch.testing.assert_close(q, method.query(first))
    torch.testing.assert_close(k, method.key(second))
    q2, k2, _ = method.encode(Batch((first, other), index, index))
    assert torch.equal(q, q2) and not torch.equal(k, k2)
    method.compare(q, k, index).backward()
    assert all(parameter.grad is None for parameter in method.key.parameters())


def test_the_queue_holds_no_key_of_its_own_batch() -> None:
    method = build(MoCoV2)
    method.queue = Queue(40, 16)  # that of the build holds no more than a batch
    batches = [chunks[0]() for chunks in feed(MoCoV2, samples=36).run(0, 6)]
    for number, batch in enumerate(batches):
        parts = method.encode(batch)
        keys = nn.functional.normalize(parts[1])
        assert torch.cdist(keys, method.queue.rows).min() > 1e-3
        assert (method.queue.ids >= 0).sum() == min(12 * number, 40)
        method.compare(*parts)
        method.update(number / 6, *(part.detach() for part in parts))
        newest = (method.queue.start - 12 + torch.arange(12)) % 40
        torch.testing.assert_close(method.queue.rows[newest], keys)
        assert torch.equal(method.queue.ids[newest], batch.index)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_momentum_stands_still(progress: float) -> None:
    method = build(MoCoV2)
    with torch.no_grad():
        for parameter in method.query.parameters():
            parameter.add_(1.0)
    before = [parameter.clone() for parameter in method.key.parameters()]
    method.update(progress, *torch.randn(2, 3, 16), torch.arange(3))
    for old, new, query in zip(before, method.key.parameters(), method.query.parameters(), strict=True):
        torch.testing.assert_close(new, 0.999 * old + 0.001 * query)


def test_queue_and_slow_copy_are_saved() -> None:
    names = set(build(MoCoV2).state_dict())
    assert {"queue.rows", "queue.ids", "queue.start"} < names
    assert {name.replace("query", "key") for name in names if name.startswith("query")} < names


def test_defaults_are_the_papers() -> None:
    expected = {"hidden": 2048, "dim": 128, "queue": 65536, "momentum": 0.999, "temperature": 0.2}
    assert discover.settings(MoCoV2) == expected
    assert not any("Norm1d" in type(layer).__name__ for layer in build(MoCoV2).query[1:])
