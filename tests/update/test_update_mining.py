"""Mined negatives against a sort in plain loops, by hand, and by what must not change them or their memory."""

import math
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Largest
from torch import Tensor

from twinlens.errors import InputError
from twinlens.losses import info_nce
from twinlens.update import mining
from twinlens.update.mining import Mined, mine


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def axes(seed: int, count: int) -> Tensor:
    """Rows along the axes, of lengths that are powers of two: cosines of exactly -1, 0 and 1, with many ties."""
    generator = torch.Generator().manual_seed(seed)
    axis, power = torch.randint(3, (count,), generator=generator), torch.randint(-2, 3, (count,), generator=generator)
    sign = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    return torch.eye(3, dtype=torch.float64)[axis] * (sign * 2.0**power)[:, None]


def some_ids(seed: int, count: int, kinds: int) -> Tensor:
    return torch.randint(kinds, (count,), generator=torch.Generator().manual_seed(seed))


def cos(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def sort_one(
    cosines: list[float], negatives: list[int], kind: str, count: int, hard: int, passed: int
) -> list[int | None]:
    """What one anchor is given, None where there is nothing."""
    similar = sorted(negatives, key=lambda j: (-cosines[j], j))
    dissimilar = sorted(negatives, key=lambda j: (cosines[j], j))
    if kind != "mixed":
        hard = count
    first = (dissimilar if kind == "easy" else similar)[: passed + hard]
    rest = [j for j in dissimilar if j not in first]
    chosen: list[int | None] = [*first[passed:], *repeat(None, hard - len(first[passed:]))]
    chosen += [*rest, *repeat(None, count)][: count - hard]
    return chosen


def compare(mined: Mined, expected: list[list[int | None]]) -> None:
    assert mined.found.tolist() == [[j is not None for j in row] for row in expected]
    assert mined.index.tolist() == [[j or 0 for j in row] for row in expected]


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n=st.integers(1, 7), m=st.integers(1, 12), ties=st.booleans(), seed=st.integers(0, 10_000))
def test_equals_a_sort(data: st.DataObject, n: int, m: int, ties: bool, seed: int) -> None:
    a, c, positive = (axes(seed + k, rows) if ties else draw(seed + k, rows, 3) for k, rows in enumerate((n, m, n)))
    ids, candidate_ids = some_ids(seed, n, 4), some_ids(seed + 1, m, 4)
    kind = data.draw(st.sampled_from(["hard", "semi-hard", "easy", "mixed"]))
    count = data.draw(st.integers(1, m))
    passed = data.draw(st.integers(0, m - count))
    share, hard = data.draw(st.sampled_from([(0.0, 0), (1.0, count), (0.5, (count + 1) // 2)]))
    bound = data.draw(st.sampled_from([None, 0.5, 0.0]))
    expected = []
    for i, anchor in enumerate(a.tolist()):
        cosines = [cos(anchor, row) for row in c.tolist()]
        limit = cos(anchor, positive[i].tolist()) if kind == "semi-hard" else math.inf
        negatives = [
            j
            for j in range(m)
            if candidate_ids[j] != ids[i] and cosines[j] < limit and (bound is None or cosines[j] <= bound)
        ]
        expected.append(sort_one(cosines, negatives, kind, count, hard, passed))
    given: dict[str, Any] = {"count": count, "ids": ids, "candidate_ids": candidate_ids, "kind": kind, "bound": bound}
    given |= {"skip": passed, "hard_share": share, "positive": positive}
    whole = mine(a, c, **given)
    compare(whole, expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "BLOCK", 2 * m)
        assert all(x.equal(y) for x, y in zip(mine(a, c, **given), whole))


def angles(*degrees: float) -> Tensor:
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack((radians.cos(), radians.sin()), 1)


@pytest.mark.parametrize(
    ("settings", "index"),
    [
        ({"count": 2}, [0, 1]),
        ({"count": 2, "kind": "easy"}, [3, 2]),
        ({"count": 2, "kind": "easy", "skip": 1}, [2, 1]),
        ({"count": 2, "skip": 1}, [1, 2]),
        ({"count": 2, "skip": 0.2}, [1, 2]),  # a fifth of five candidates
        ({"count": 2, "bound": 0.9}, [1, 2]),  # the cosine of 10 degrees is 0.98
        ({"count": 2, "kind": "semi-hard", "positive": angles(30)}, [1, 2]),
        ({"count": 3, "kind": "mixed", "hard_share": 1 / 3}, [0, 3, 2]),
        ({"count": 3, "kind": "mixed"}, [0, 1, 3]),
        ({"count": 3, "kind": "mixed", "hard_share": 0.0, "skip": 1}, [3, 2, 1]),
    ],
)
def test_known_by_hand(settings: dict[str, Any], index: list[int]) -> None:
    candidates, candidate_ids = angles(10, 40, 90, 180, 25), torch.tensor([1, 2, 3, 4, 0])
    mined = mine(angles(0), candidates, ids=torch.tensor([0]), candidate_ids=candidate_ids, **settings)
    assert mined.index.tolist() == [index] and mined.found.all()


def test_fewer_negatives_than_asked_for() -> None:
    z, ids = angles(0, 10, 100), torch.tensor([0, 0, 1])
    mined = mine(z, count=2, ids=ids)
    assert mined.index.tolist() == [[2, 0], [2, 0], [1, 0]]
    assert mined.found.tolist() == [[True, False], [True, False], [True, True]]


def test_order_and_length_of_the_candidates_do_not_matter() -> None:
    a, c = draw(0, 20, 8), draw(1, 50, 8)
    ids, candidate_ids, order = some_ids(0, 20, 9), some_ids(1, 50, 9), torch.randperm(50)
    for kind in ("hard", "semi-hard", "easy", "mixed"):
        given: dict[str, Any] = {"count": 6, "kind": kind, "skip": 2, "positive": draw(2, 20, 8), "ids": ids}
        mined = mine(a, c, candidate_ids=candidate_ids, **given)
        shuffled = mine(a, c[order], candidate_ids=candidate_ids[order], **given)
        assert order[shuffled.index].where(shuffled.found, 0).equal(mined.index)
        scaled = mine(a * 0.01, c * torch.arange(1, 51)[:, None], candidate_ids=candidate_ids, **given)
        assert scaled.index.equal(mined.index) and scaled.found.equal(mined.found)


def test_half_precision_gradients_and_autocast_do_not_matter() -> None:
    z, ids = draw(0, 60, 32).bfloat16().requires_grad_(), torch.arange(60)
    expected = mine(z.detach().float(), count=20, ids=ids)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(pytest.fail, pytest.fail),
    ):
        found = mine(z, count=20, ids=ids)
    assert found.index.equal(expected.index)


def test_what_is_not_a_number_is_never_chosen() -> None:
    z = draw(0, 4, 3)
    z[1, 2] = math.nan
    mined = mine(z, count=3, ids=torch.arange(4))
    assert mined.found.sum(1).tolist() == [2, 0, 2, 2] and not (mined.index[mined.found] == 1).any()


@pytest.mark.parametrize("kind", ["semi-hard", "mixed"])
def test_memory_is_that_of_a_block(kind: mining.Kind) -> None:
    z, n = draw(0, 3000, 4).float(), 3000
    with Largest() as largest:
        mine(z, count=3, ids=torch.arange(n), kind=kind, positive=z.roll(1, 0), skip=0.01)
    assert n < largest.size <= mining.BLOCK < n * n


def test_as_negatives_of_info_nce() -> None:
    a, positive, c = draw(0, 3, 4), draw(1, 3, 4), draw(2, 5, 4)
    ids, candidate_ids = torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2, 2, 2])  # four, five and one negatives
    mined = mine(a, c, count=2, ids=ids, candidate_ids=candidate_ids)
    negative_ids = candidate_ids[mined.index].where(mined.found, ids[:, None])
    loss = info_nce(a, positive, c[mined.index], temperature=0.5, ids=ids, negative_ids=negative_ids)
    losses = []
    for i, (anchor, row) in enumerate(zip(a.tolist(), positive.tolist(), strict=True)):
        top = math.exp(cos(anchor, row) / 0.5)
        rivals = sorted(math.exp(cos(anchor, c[j].tolist()) / 0.5) for j in range(5) if candidate_ids[j] != ids[i])
        losses.append(-math.log(top / (top + sum(rivals[-2:]))))
    assert mined.found.sum(1).tolist() == [2, 2, 1]
    assert float(loss) == pytest.approx(sum(losses) / 3)


def test_an_anchor_without_negatives_costs_nothing() -> None:
    z = draw(0, 4, 3).requires_grad_()
    ids = torch.zeros(4, dtype=torch.int64)
    mined = mine(z, count=2, ids=ids)
    negative_ids = ids[mined.index].where(mined.found, ids[:, None])
    loss = info_nce(z, z.roll(1, 0), z[mined.index], temperature=0.5, ids=ids, negative_ids=negative_ids)
    loss.backward()
    assert loss.detach() == 0 and z.grad is not None and not z.grad.any()


Z, IDS = angles(0, 10, 20), torch.arange(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mine(Z[0], count=1, ids=IDS), r"anchors has shape \(2,\): expected \(N, D\) with one row"),
        (lambda: mine(Z[:0], count=1, ids=IDS), r"anchors has shape \(0, 2\): expected \(N, D\) with one row"),
        (lambda: mine(Z.long(), count=1, ids=IDS), r"anchors is of torch.int64: .* convert it with \.float\(\)"),
        (lambda: mine(Z, Z[:, :1], count=1, ids=IDS), r"candidates has shape \(3, 1\): expected \(N, 2\)"),
        (lambda: mine(Z, count=1, ids=IDS[:2]), r"ids is of shape \(2,\) .*: expected one integer for each of the 3"),
        (lambda: mine(Z, count=1, ids=IDS.float()), r"ids is of shape \(3,\) and torch.float32: expected one integer"),
        (lambda: mine(Z, Z, count=1, ids=IDS), r"candidate_ids is missing: expected one integer for each of the 3"),
        (lambda: mine(Z, count=1, ids=IDS, candidate_ids=IDS[:1]), r"candidate_ids is of shape \(1,\)"),
        (lambda: mine(Z, count=0, ids=IDS), r"count is 0: expected from 1 to 3"),
        (lambda: mine(Z, count=4, ids=IDS), r"count is 4: expected from 1 to 3"),
        (lambda: mine(Z, count=1, ids=IDS, kind="semi"), r"unknown kind of negatives 'semi': did you mean semi-hard"),  # type: ignore[arg-type]
        (lambda: mine(Z, count=1, ids=IDS, kind="semi-hard"), r"positive is missing: expected \(3, 2\)"),
        (lambda: mine(Z, count=1, ids=IDS, kind="semi-hard", positive=Z[:2]), r"positive is of shape \(2, 2\)"),
        (lambda: mine(Z, count=1, ids=IDS, kind="semi-hard", positive=Z.int()), r"positive is of torch.int32"),
        (lambda: mine(Z, count=1, ids=IDS, hard_share=1.5), r"hard_share is 1.5: expected a share in \[0, 1\]"),
        (lambda: mine(Z, count=1, ids=IDS, skip=-1), r"skip is -1 and count 1: expected 0 or more, and 3 candidates"),
        (lambda: mine(Z, count=2, ids=IDS, skip=2), r"skip is 2 and count 2: expected 0 or more, and 3 candidates"),
        (lambda: mine(Z, count=1, ids=IDS, skip=1.0), r"skip is 1.0: expected a share in \[0, 1\)"),
    ],
)
def test_says_what_is_wrong(call: Callable[[], Mined], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
