"""The queue against a deque, whatever the sizes pushed; what it does to gradients, checkpoints and losses."""

import math
from collections import deque
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twinlens.errors import InputError
from twinlens.losses import info_nce
from twinlens.update.queue import Queue


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def oldest_first(queue: Queue) -> tuple[Tensor, list[int]]:
    start = int(queue.start)
    return queue.rows.roll(-start, 0), queue.ids.roll(-start).tolist()


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 9), dim=st.integers(1, 4), pushes=st.lists(st.integers(0, 20), max_size=6))
def test_equals_a_deque(size: int, dim: int, pushes: list[int]) -> None:
    torch.manual_seed(0)
    queue = Queue(size, dim)
    expected = deque(zip(queue.rows.tolist(), [-1] * size, strict=True), maxlen=size)
    for number, count in enumerate(pushes):
        z, ids = draw(number, count, dim), torch.arange(count) + 100 * number
        queue.push(z, ids)
        for row, id_ in zip(z.tolist(), ids.tolist(), strict=True):
            length = math.sqrt(sum(x * x for x in row))
            expected.append(([x / length for x in row], id_))
        rows, known = oldest_first(queue)
        torch.testing.assert_close(rows, torch.tensor([row for row, _ in expected]))
        assert known == [id_ for _, id_ in expected]


def test_known_by_hand() -> None:
    queue = Queue(3, 2)
    queue.push(torch.tensor([[3.0, 4.0], [0.0, 0.5]]), torch.tensor([7, 8]))
    queue.push(torch.tensor([[-2.0, 0.0], [0.0, -1.0]]))
    torch.testing.assert_close(queue.rows, torch.tensor([[0.0, -1.0], [0.0, 1.0], [-1.0, 0.0]]))
    assert queue.ids.tolist() == [-1, 8, -1] and int(queue.start) == 1


def test_starts_as_random_directions_of_the_seed() -> None:
    queues = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        queues.append(Queue(500, 4))
    torch.testing.assert_close(queues[0].rows.norm(dim=1), torch.ones(500))
    assert queues[0].rows.mean(0).norm() < 0.15  # 500 random directions: 1 / sqrt(500) = 0.045 is typical
    assert queues[0].rows.equal(queues[1].rows) and not queues[0].rows.equal(queues[2].rows)
    assert (queues[0].ids == -1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_lengths_are_taken_at_the_rows_precision(dtype: torch.dtype) -> None:
    queue, z = Queue(5, 16), (100 * draw(0, 5, 16)).to(dtype)  # squares overflow float16
    queue.push(z)
    torch.testing.assert_close(queue.rows, torch.nn.functional.normalize(z.float()))
    assert queue.rows.dtype == torch.float32


def test_takes_no_gradient_and_keeps_what_was_pushed_from_changing_it() -> None:
    queue, z = Queue(4, 3), draw(0, 2, 3).requires_grad_()
    queue.push(z)
    before = queue.rows.clone()
    with torch.no_grad():
        z.zero_()
    assert not queue.rows.requires_grad and queue.rows.equal(before) and not list(queue.parameters())


def test_pushing_before_backward_raises_rather_than_corrupts() -> None:
    queue, q = Queue(4, 3), draw(0, 2, 3).requires_grad_()
    loss = (q @ queue.rows.T).exp().sum()
    queue.push(draw(1, 2, 3))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_as_negatives_of_info_nce() -> None:
    queue, (q, k) = Queue(6, 3), draw(0, 2, 2, 3)
    queue.push(torch.cat((k, -k)), torch.tensor([0, 1, 5, 6]))
    ids = torch.tensor([0, 1])
    found = info_nce(q, k, queue.rows, temperature=0.5, ids=ids, negative_ids=queue.ids)
    losses = []
    for i in range(2):
        scores = (torch.nn.functional.cosine_similarity(q[i, None], queue.rows) / 0.5).exp().tolist()
        positive = math.exp(float(torch.nn.functional.cosine_similarity(q[i], k[i], dim=0)) / 0.5)
        rivals = sum(score for score, id_ in zip(scores, queue.ids.tolist(), strict=True) if id_ != i)
        losses.append(-math.log(positive / (positive + rivals)))
    assert float(found) == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_goes_on_from_a_checkpoint() -> None:
    queue, other = Queue(5, 2), Queue(5, 2)
    queue.push(draw(0, 3, 2), torch.arange(3))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.push(draw(1, 4, 2), torch.arange(4))
    assert set(queue.state_dict()) == {"rows", "ids", "start"}
    assert all(a.equal(b) for a, b in zip(queue.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Queue(0, 2), r"size is 0 and dim 2: expected 1 or more"),
        (lambda: Queue(2, 0), r"size is 2 and dim 0: expected 1 or more"),
        (lambda: Queue(4, 2).push(torch.ones(2)), r"z has shape \(2,\): expected \(N, 2\)"),
        (lambda: Queue(4, 2).push(torch.ones(3, 5)), r"z has shape \(3, 5\): expected \(N, 2\)"),
        (lambda: Queue(4, 2).push(torch.ones(3, 2), torch.arange(2)), r"ids has shape \(2,\).*each of the 3 rows"),
        (lambda: Queue(4, 2).push(torch.ones(3, 2), torch.ones(3)), r"torch.float32: expected one integer"),
    ],
)
def test_says_what_is_wrong(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
