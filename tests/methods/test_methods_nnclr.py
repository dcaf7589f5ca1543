"""NNCLR against loops, by hand, and which neighbours it finds."""

import math

import pytest
import torch
from support import build, feed
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.methods.nnclr import NNCLR, neighbour
from twinlens.update.queue import Queue


def cosine(a: list[float], b: list[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def nearest(z: Tensor, ids: list[int], queue: Queue) -> list[list[float]]:
    found = []
    for row, own in zip(z.tolist(), ids, strict=True):
        others = [r for r, id_ in zip(queue.rows.tolist(), queue.ids.tolist(), strict=True) if id_ != own]
        found.append(max(others, key=lambda r: cosine(row, r)))
    return found


def contrast(neighbours: list[list[float]], p: list[list[float]], tau: float) -> float:
    """Equation 3 and, added to it, the same with the sum over neighbours; the mean of both."""
    n = len(p)
    s = [[math.exp(cosine(a, b) / tau) for b in p] for a in neighbours]
    rows = sum(-math.log(s[i][i] / sum(s[i])) for i in range(n)) / n
    columns = sum(-math.log(s[i][i] / sum(s[k][i] for k in range(n))) for i in range(n)) / n
    return (rows + columns) / 2


def test_loss() -> None:
    method = build(NNCLR).double()
    method.queue.push(torch.randn(9, 16), torch.tensor([4, 0, 9, 9, 2, 8, 0, 7, 1]))
    z1, z2, p1, p2 = torch.randn(4, 5, 16, dtype=torch.float64)
    nn1, nn2 = (nearest(z, [0, 1, 2, 3, 4], method.queue) for z in (z1, z2))
    expected = (contrast(nn1, p2.tolist(), 0.1) + contrast(nn2, p1.tolist(), 0.1)) / 2
    assert float(method.compare(z1, z2, p1, p2, torch.arange(5))) == pytest.approx(expected)


def test_a_neighbour_is_the_nearest_row_of_another_sample() -> None:
    torch.manual_seed(0)
    queue = Queue(50, 4)
    queue.push(torch.randn(40, 4), torch.arange(40) % 7)  # up to six rows of a sample
    z = torch.randn(7, 4)
    found = neighbour(z, torch.arange(7), queue)
    torch.testing.assert_close(found, torch.tensor(nearest(z, list(range(7)), queue)))
    place = torch.cdist(found, queue.rows).argmin(1)
    assert (queue.ids[place] != torch.arange(7)).all()
    torch.testing.assert_close(neighbour(5 * z, torch.arange(7), queue), found)  # lengths do not count


def test_a_queue_of_nothing_else_gives_the_sample_itself() -> None:
    queue = Queue(3, 2)
    queue.push(torch.tensor([[1.0, 0], [0, 1], [-1, 0]]), torch.tensor([5, 5, 5]))
    found = neighbour(torch.tensor([[0.1, 2.0]]), torch.tensor([5]), queue)
    assert found.tolist() == [[0.0, 1.0]]


def test_known_by_hand() -> None:
    method, axes = build(NNCLR), torch.eye(16)
    method.queue.push(axes)
    index = torch.arange(16)
    z = axes + 0.1  # nearest to its own axis
    aligned = math.log(1 + 15 * math.exp(-10))
    assert float(method.compare(z, z, axes, axes, index)) == pytest.approx(aligned, rel=1e-3)
    same = torch.ones(16, 16)
    assert float(method.compare(z, z, same, same, index)) == pytest.approx(math.log(16))


def test_aligned_is_less_than_random_is_less_than_opposite() -> None:
    method, index = build(NNCLR), torch.arange(32)
    z1, z2, p1, p2 = torch.randn(4, 32, 16)
    nn1, nn2 = (neighbour(z, index, method.queue) for z in (z1, z2))
    losses = [method.compare(z1, z2, *p, index) for p in ((nn2, nn1), (p1, p2), (-nn2, -nn1))]
    assert losses[0] < losses[1] < losses[2]


def test_views_may_change_places() -> None:
    compare, index = build(NNCLR).compare, torch.arange(6)
    z1, z2, p1, p2 = torch.randn(4, 6, 16)
    torch.testing.assert_close(compare(z1, z2, p1, p2, index), compare(z2, z1, p2, p1, index))


def test_only_predictions_take_a_gradient() -> None:
    parts = [torch.randn(6, 16, requires_grad=True) for _ in range(4)]
    build(NNCLR).compare(*parts, torch.arange(6)).backward()
    assert [part.grad is not None for part in parts] == [False, False, True, True]


def test_the_queue_holds_no_projection_of_its_own_batch() -> None:
    method = build(NNCLR)
    for number, chunks in enumerate(feed(NNCLR, samples=36).run(0, 4)):
        batch = chunks[0]()
        parts = method.encode(batch)
        projections = normalize(parts[0])
        assert torch.cdist(projections, method.queue.rows).min() > 1e-3
        method.compare(*parts)
        method.update(number / 4, *(part.detach() for part in parts))
        newest = (method.queue.start - 12 + torch.arange(12)) % 16
        torch.testing.assert_close(method.queue.rows[newest], projections)  # of the first view
        assert torch.equal(method.queue.ids[newest], batch.index)
