"""The engine: equal to the plain matrix whatever the tiles, in memory that does not grow with the pairs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Largest
from torch import Tensor

from twinlens import losses
from twinlens.losses import tiled
from twinlens.losses.tiled import Pairs, log_sum_exp, summed


def plain(a: Tensor, b: Tensor | None, pairs: Pairs) -> tuple[Tensor, Tensor]:
    s = a @ (a if b is None else b).T
    hidden = torch.zeros_like(s, dtype=torch.bool)
    if pairs.rows is not None and pairs.columns is not None:
        same = pairs.rows[:, None] == pairs.columns
        hidden |= ~same if pairs.equal else same
    if pairs.period:
        hidden |= (torch.arange(s.shape[0])[:, None] - torch.arange(s.shape[1])) % pairs.period == 0
    hidden |= s > pairs.below
    if b is None:
        hidden |= torch.eye(len(a), dtype=torch.bool)
    s = s.masked_fill(hidden, -torch.inf)
    return s.logsumexp(1), s.logsumexp(0)


def ids_of(kind: str, count: int, generator: torch.Generator) -> Tensor:
    ids = torch.randint(4, (count,), generator=generator)
    return {"own": torch.arange(count), "few": ids, "sorted": ids.sort().values}[kind]


@settings(deadline=None, max_examples=60)
@given(
    m=st.integers(1, 13), k=st.integers(1, 13), d=st.integers(1, 5), tile=st.sampled_from([1, 2, 5, 64]),
    within=st.booleans(), equal=st.booleans(), kind=st.sampled_from(["none", "period", "own", "few", "sorted"]),
    kept=st.sampled_from([0, 2**20]), length=st.sampled_from([1.0, 30.0]), below=st.sampled_from([torch.inf, 0.3]),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_equals_the_plain_matrix(
    m: int,
    k: int,
    d: int,
    tile: int,
    within: bool,
    equal: bool,
    kind: str,
    kept: int,
    length: float,
    below: float,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = (length * torch.randn(m, d, dtype=torch.float64, generator=generator)).requires_grad_()
    b = torch.randn(k, d, dtype=torch.float64, generator=generator).requires_grad_() if not within else None
    if kind in ("none", "period"):
        pairs = Pairs(below=below, period=0 if kind == "none" else 1 + seed % 14)
    else:
        rows = ids_of(kind, m, generator)
        pairs = Pairs(rows, rows if within else ids_of(kind, k, generator), equal=equal, below=below)
    weights = torch.randn(2, 13, dtype=torch.float64, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiled.TILE, "cpu", tile)
        patch.setattr(tiled, "KEPT", kept)
        inputs = [x for x in (a, b) if x is not None]
        for use in ((0, 1), (0,), (1,)):
            found, grads = [], []
            for function in (log_sum_exp, plain):
                results = function(a, b, pairs)
                total = sum(
                    (weights[i][: len(results[i])] * results[i].where(results[i].isfinite(), 0)).sum() for i in use
                )
                found.append(results)
                grads.append([g.nan_to_num() for g in torch.autograd.grad(total, inputs)])  # plain: nan in empty rows
            for ours, theirs in zip(found[0], found[1], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
            if all(result.isfinite().all() for result in found[1]):
                torch.testing.assert_close(grads[0], grads[1], rtol=1e-9, atol=1e-9 * length)
            assert all(g.isfinite().all() for g in grads[0])


def test_rows_without_pairs_pull_at_nothing() -> None:
    a = torch.randn(4, 3, requires_grad=True)
    same = torch.zeros(4, dtype=torch.int64)
    rows, _ = log_sum_exp(a, None, Pairs(same, same))
    assert (rows == -torch.inf).all()
    torch.nn.functional.softplus(rows - a.sum(1)).sum().backward()
    assert a.grad is not None and (a.grad == 0).all()


@pytest.mark.parametrize("length", [1.0, 50.0])
def test_backward_can_run_twice(length: float, monkeypatch: pytest.MonkeyPatch) -> None:
    a = (length * torch.randn(6, 3)).requires_grad_()
    for tile in (2, 64):
        monkeypatch.setitem(tiled.TILE, "cpu", tile)
        total = log_sum_exp(a, None, Pairs())[0].sum()
        (first,) = torch.autograd.grad(total, a, retain_graph=True)
        (second,) = torch.autograd.grad(total, a)
        assert torch.equal(first, second)


def test_exponents_that_would_overflow_and_underflow() -> None:
    a = torch.tensor([[1e3], [1.0], [-1e3]], requires_grad=True)
    rows, _ = log_sum_exp(a, torch.tensor([[1.0], [0.5]]), Pairs())
    torch.testing.assert_close(rows, torch.tensor([1e3, math.log(math.e + math.exp(0.5)), -500.0]))
    rows.sum().backward()
    weight = 1 / (1 + math.exp(-0.5))
    torch.testing.assert_close(a.grad, torch.tensor([[1.0], [weight + (1 - weight) / 2], [0.5]]))


SIZED = {
    "nt_xent": lambda z1, z2: losses.nt_xent(z1, z2, temperature=0.1),
    "cold": lambda z1, z2: losses.nt_xent(z1, z2, temperature=0.01),
    "clip": lambda z1, z2: losses.clip(z1, z2, temperature=0.1),
    "sigmoid": lambda z1, z2: losses.sigmoid(z1, z2, temperature=0.1, bias=-10.0),
    "supcon": lambda z1, z2: losses.supcon(z1, torch.arange(len(z1)) % 10, temperature=0.1, form="in"),
    "triplet": lambda z1, z2: losses.triplet(z1, torch.arange(len(z1)) % 10, margin=0.2, mining="all"),
    "uniformity": lambda z1, z2: losses.uniformity(z1),
    "queue": lambda z1, z2: losses.info_nce(z1[:50], z2[:50], z2, temperature=0.1),
}


@pytest.mark.parametrize("name", SIZED)
def test_no_tensor_holds_all_pairs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiled.TILE, "cpu", 32)
    monkeypatch.setattr(tiled, "BLOCK", 32 * 300)
    z1, z2 = torch.randn(2, 300, 4).unbind()
    with Largest() as seen:
        SIZED[name](z1.requires_grad_(), z2.requires_grad_()).backward()
    assert seen.size <= 32 * 301


def test_the_watch_on_memory_sees_a_plain_matrix() -> None:
    z = torch.randn(300, 4, requires_grad=True)
    with Largest() as seen:
        (z @ z.T).logsumexp(1).sum().backward()
    assert seen.size == 300 * 300


def test_blocks_are_summed_with_their_gradient_and_what_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "BLOCK", 6)
    x, y = torch.randn(7, dtype=torch.float64, requires_grad=True), torch.randn(3, dtype=torch.float64)

    def block(run: slice, x: Tensor, y: Tensor) -> Tensor:
        pairs = x[run, None] * y
        return torch.stack((pairs.square().sum(), (pairs > 0).sum()))

    total, positive = summed(block, 3, x, y)
    assert float(total.detach()) == pytest.approx(float((x[:, None] * y).square().sum().detach()))
    assert int(positive) == int((x[:, None] * y > 0).sum())
    (grad,) = torch.autograd.grad(3 * total, x)
    torch.testing.assert_close(grad, 6 * x.detach() * y.square().sum())
