"""W-MSE against loops, by hand, and what whitening and cutting into sub-batches promise."""

import math

import pytest
import torch
from support import build
from torch import Tensor

from twinlens import random
from twinlens.errors import InputError
from twinlens.methods.wmse import WMSE, whiten

Matrix = list[list[float]]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def keys(count: int) -> Tensor:
    return random.keys(0, 0, torch.arange(count))


def small(dim: int, **settings: float) -> WMSE:
    return WMSE(build(WMSE).encoder, hidden=16, dim=dim, **settings)  # type: ignore[arg-type]


def whiten_by_loops(z: Matrix) -> Matrix:
    """Cholesky's factor and forward substitution, written out."""
    n, d = len(z), len(z[0])
    mean = [sum(row[j] for row in z) / n for j in range(d)]
    x = [[row[j] - mean[j] for j in range(d)] for row in z]
    factor = [[0.0] * d for _ in range(d)]
    for i in range(d):
        for j in range(i + 1):
            rest = sum(row[i] * row[j] for row in x) / (n - 1) - sum(factor[i][k] * factor[j][k] for k in range(j))
            factor[i][j] = math.sqrt(rest) if i == j else rest / factor[j][j]
    white = []
    for row in x:
        v: list[float] = []
        for i in range(d):
            v.append((row[i] - sum(factor[i][k] * v[k] for k in range(i))) / factor[i][i])
        white.append(v)
    return white


def distances(v1: Matrix, v2: Matrix) -> list[float]:
    """The squared distance of unit vectors, for each row."""
    units = [[[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in v] for v in (v1, v2)]
    return [sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for a, b in zip(*units, strict=True)]


def test_whitening() -> None:
    z = draw(9, 4) @ draw(4, 4) + 5
    torch.testing.assert_close(whiten(z), torch.tensor(whiten_by_loops(z.tolist())).double(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(whiten(z).mean(0), torch.zeros(4).double())
    torch.testing.assert_close(whiten(z).T.cov(), torch.eye(4).double(), atol=1e-3, rtol=0)


def test_whitening_known_by_hand() -> None:
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)  # covariance 4/3 of the identity
    torch.testing.assert_close(whiten(3 * z + 8), z * math.sqrt(3 / 4), rtol=1e-5, atol=1e-5)


def test_whitening_undoes_shifts_scales_and_lower_triangles() -> None:
    z, lower = draw(12, 4), draw(4, 4).tril(-1) + torch.diag(torch.tensor([0.5, 1, 2, 3])).double()
    torch.testing.assert_close(whiten(z @ lower.T - 7), whiten(z), atol=1e-3, rtol=0)
    torch.testing.assert_close(whiten(1e-6 * z), whiten(z))  # the scale is of no account at all


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_whitening_is_computed_in_double_precision(dtype: torch.dtype) -> None:
    z = (draw(64, 8) @ draw(8, 8)).to(dtype)
    white = whiten(z)
    assert white.dtype == dtype
    torch.testing.assert_close(white, whiten(z.double()).to(dtype))


@pytest.mark.parametrize(("samples", "iterations"), [(5, 1), (11, 1), (11, 3), (24, 2)])
def test_loss(samples: int, iterations: int) -> None:
    method, key = small(3, iterations=iterations), keys(samples)  # sub-batches of 6 or more
    z1, z2 = draw(2, samples, 3)
    total = 0.0
    for iteration in range(iterations):
        word = random.bits(key, iterations)[:, iteration].tolist()
        order = sorted(range(samples), key=lambda i: word[i])
        count = max(1, samples // 6)
        sizes = [samples // count + (i < samples % count) for i in range(count)]
        for i, size in enumerate(sizes):
            rows = order[sum(sizes[:i]) :][:size]
            total += sum(distances(*(whiten_by_loops(z[rows].tolist()) for z in (z1, z2))))
    expected = total / samples / iterations
    assert float(method.compare(z1, z2, key)) == pytest.approx(expected, rel=1e-3)


def test_loss_known_by_hand() -> None:
    compare, z = small(3).compare, draw(12, 3)
    assert float(compare(z, 5 * z + 1, keys(12))) == pytest.approx(0, abs=1e-9)
    assert float(compare(z, -z, keys(12))) == pytest.approx(4)


def test_aligned_is_less_than_random_is_less_than_opposite() -> None:
    compare, (z1, z2) = small(4).compare, draw(2, 64, 4)
    assert compare(z1, z1, keys(64)) < compare(z1, z2, keys(64)) < compare(z1, -z1, keys(64))


def test_the_order_of_a_batch_does_not_count_but_its_keys_do() -> None:
    method, (z1, z2), key = small(3), draw(2, 24, 3), keys(24)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    loss = method.compare(z1, z2, key)
    torch.testing.assert_close(method.compare(z1[order], z2[order], key[order]), loss)
    assert float((method.compare(z1, z2, random.fold(key, 1)) - loss).abs()) > 1e-4


def test_sub_batches_are_never_smaller_than_asked_unless_the_batch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinlens.methods import wmse

    for samples, expected in ((2, [2]), (5, [5]), (6, [6]), (11, [11]), (12, [6, 6]), (20, [7, 7, 6])):
        seen: list[Tensor] = []
        monkeypatch.setattr(wmse, "whiten", lambda z, seen=seen: seen.append(z) or z)
        z = torch.arange(samples)[:, None].expand(-1, 3).double()
        small(3).compare(z, z, keys(samples))
        assert [len(part) for part in seen[: len(expected)]] == expected
        assert len(seen) == 2 * len(expected)
        assert torch.cat(seen[: len(expected)])[:, 0].sort().values.tolist() == list(range(samples))  # each once


def test_too_few_samples_and_complete_collapse_give_a_finite_gradient() -> None:
    method = small(8)
    for z in (torch.randn(5, 8), torch.ones(20, 8), torch.zeros(20, 8), torch.randn(20, 1).expand(-1, 8).clone()):
        z1, z2 = z.clone().requires_grad_(), z.flip(0).requires_grad_()
        loss = method.compare(z1, z2, keys(len(z)))
        loss.backward()
        assert loss.isfinite() and z1.grad is not None and z1.grad.isfinite().all()


def test_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"sub_batch is 1.0: expected above 1"):
        small(4, sub_batch=1.0)


def test_the_papers_sub_batch() -> None:
    assert small(64).size == 128
