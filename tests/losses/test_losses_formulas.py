"""Every loss equals its definition in plain loops, over shapes, in tiles so small that all their edges occur."""

import math

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twinlens import losses
from twinlens.losses import tiled

TEMPERATURES = st.sampled_from([0.05, 0.1, 0.5, 1.0])
SEEDS = st.integers(0, 10_000)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiled.TILE, "cpu", 3)
    monkeypatch.setattr(tiled, "BLOCK", 20)
    monkeypatch.setattr(tiled, "KEPT", 50)  # matrices above and below


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def some_ids(seed: int, n: int, kinds: int) -> Tensor:
    return torch.randint(kinds, (n,), generator=torch.Generator().manual_seed(seed))


def both(z1: Tensor, z2: Tensor) -> tuple[reference.Rows, reference.Rows]:
    return reference.rows(z1), reference.rows(z2)


def same(found: Tensor, expected: float) -> None:
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-10)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 9), d=st.integers(1, 6), t=TEMPERATURES, seed=SEEDS)
def test_two_views(n: int, d: int, t: float, seed: int) -> None:
    z1, z2 = draw(seed, 2, n, d)
    own = list(range(n))
    same(losses.nt_xent(z1, z2, temperature=t), reference.nt_xent(*both(z1, z2), t, own))
    same(losses.decoupled(z1, z2, temperature=t), reference.decoupled(*both(z1, z2), t, own))
    same(losses.decoupled(z1, z2, temperature=t, sigma=0.5), reference.decoupled(*both(z1, z2), t, own, 0.5))
    same(losses.clip(z1, z2, temperature=t), reference.clip(*both(z1, z2), t, own))
    same(losses.sigmoid(z1, z2, temperature=t, bias=-3.0), reference.sigmoid(*both(z1, z2), t, -3.0, own))
    for hardness, prior in ((0.0, 0.0), (1.0, 0.0), (0.0, 0.1), (0.5, 0.1), (2.0, 0.3)):
        found = losses.reweighted(z1, z2, temperature=t, hardness=hardness, prior=prior)
        same(found, reference.reweighted(*both(z1, z2), t, hardness, prior))
    same(losses.negative_cosine(z1, z2), -reference.mean([reference.cos(a, b) for a, b in zip(*both(z1, z2))]))
    same(losses.alignment(z1, z2), reference.alignment(*both(z1, z2), 2.0))
    same(losses.alignment(z1, z2, alpha=1.0), reference.alignment(*both(z1, z2), 1.0))
    same(losses.uniformity(z1, t=1.5), reference.uniformity(reference.rows(z1), 1.5))


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 9), kinds=st.integers(1, 4), bound=st.sampled_from([2.0, 0.5, -0.2]), seed=SEEDS)
def test_false_negatives_are_left_out(n: int, kinds: int, bound: float, seed: int) -> None:
    z1, z2 = draw(seed, 2, n, 3)
    ids, t = some_ids(seed, n, kinds), 0.3
    given, known = {"temperature": t, "ids": ids, "bound": bound}, ids.tolist()
    same(losses.nt_xent(z1, z2, **given), reference.nt_xent(*both(z1, z2), t, known, bound))
    same(losses.decoupled(z1, z2, **given), reference.decoupled(*both(z1, z2), t, known, bound=bound))
    same(losses.clip(z1, z2, **given), reference.clip(*both(z1, z2), t, known, bound))
    same(losses.sigmoid(z1, z2, bias=-1.0, **given), reference.sigmoid(*both(z1, z2), t, -1.0, known, bound))
    keep = [
        [k for j, k in enumerate(reference.rows(z2)) if known[j] != known[i] and reference.cos(q, k) <= bound]
        for i, q in enumerate(reference.rows(z1))
    ]
    expected = reference.info_nce(reference.rows(z1), [[row] for row in reference.rows(z2)], keep, t)
    same(losses.info_nce(z1, z2, **given), expected)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 6), k=st.integers(1, 8), p=st.integers(1, 3), t=TEMPERATURES, seed=SEEDS)
def test_explicit_negatives(n: int, k: int, p: int, t: float, seed: int) -> None:
    query, positive = draw(seed, n, 4), draw(seed + 1, n, p, 4)
    shared, own = draw(seed + 2, k, 4), draw(seed + 3, n, k, 4)
    ids, shared_ids, own_ids = some_ids(seed, n, 3), some_ids(seed + 1, k, 4), some_ids(seed + 2, n * k, 4).view(n, k)
    q, ps = reference.rows(query), [reference.rows(one) for one in positive]
    queue, mined = reference.rows(shared), [reference.rows(one) for one in own]

    same(losses.info_nce(query, positive, shared, temperature=t), reference.info_nce(q, ps, [queue] * n, t))
    same(
        losses.info_nce(query, positive[:, 0], own, temperature=t), reference.info_nce(q, [x[:1] for x in ps], mined, t)
    )
    named = losses.info_nce(query, positive, shared, temperature=t, ids=ids, negative_ids=shared_ids)
    kept = [[row for row, other in zip(queue, shared_ids) if other != one] for one in ids]
    same(named, reference.info_nce(q, ps, kept, t))
    named = losses.info_nce(query, positive, own, temperature=t, ids=ids, negative_ids=own_ids)
    kept = [[row for row, other in zip(m, o) if other != one] for m, o, one in zip(mined, own_ids, ids)]
    same(named, reference.info_nce(q, ps, kept, t))
    together = [[x for j in range(n) if j != i for x in ps[j]] + mined[i] for i in range(n)]
    found = losses.info_nce(query, positive, own, temperature=t, in_batch=True)
    same(found, reference.info_nce(q, ps, together, t))


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 10), kinds=st.integers(1, 5), seed=SEEDS, t=TEMPERATURES)
def test_labels(n: int, kinds: int, seed: int, t: float) -> None:
    z, labels = draw(seed, n, 3), some_ids(seed, n, kinds)
    z_rows, known = reference.rows(z), labels.tolist()
    for form in ("out", "in"):
        same(losses.supcon(z, labels, temperature=t, form=form), reference.supcon(z_rows, known, t, form))
    for mining in ("all", "active", "semi-hard", "hard"):
        for distance in ("euclidean", "cosine"):
            found = losses.triplet(z, labels, margin=0.4, mining=mining, distance=distance)
            same(found, reference.triplet(z_rows, known, 0.4, mining, distance))
    other, alike = draw(seed + 1, n, 3), labels > 0
    for distance in ("euclidean", "cosine"):
        found = losses.margin(z, other, alike, margin=1.2, distance=distance)
        same(found, reference.margin(z_rows, reference.rows(other), alike.tolist(), 1.2, distance))


def test_known_by_hand() -> None:
    eye = torch.eye(2, dtype=torch.float64)  # partner at similarity 1, the others at 0
    e = math.e
    same(losses.nt_xent(eye, eye, temperature=1.0), math.log((e + 2) / e))
    same(losses.decoupled(eye, eye, temperature=1.0), math.log(2) - 1)
    same(losses.clip(eye, eye, temperature=1.0), math.log((e + 1) / e))
    same(losses.info_nce(eye, eye, -eye, temperature=1.0), math.log((e + 1 / e + 1) / e))
    same(losses.sigmoid(eye, eye, temperature=1.0, bias=0.0), math.log(1 + 1 / e) + math.log(2))
    same(losses.negative_cosine(eye, 3 * eye), -1.0)
    same(losses.alignment(eye, -eye), 4.0)
    same(losses.uniformity(torch.tensor([[1.0], [-1.0]], dtype=torch.float64)), -8.0)
    four, labels = eye.repeat(2, 1), torch.tensor([0, 1, 0, 1])
    same(losses.supcon(four, labels, temperature=1.0), math.log((e + 2) / e))
    same(losses.triplet(four, labels, margin=2.0, mining="all"), 2 - math.sqrt(2))
    same(losses.triplet(four, labels, margin=0.5, mining="active"), 0.0)  # no triplet is left to move
    line, two = torch.tensor([[0.0], [1.0], [-1.0], [-2.0]], dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    # seen from 0 the negative at -1 is as far as the positive, not farther; from -1 the positive -2 is as far as 0
    same(losses.triplet(line, two, margin=2.0, mining="semi-hard"), (1 + 1 + 1 + 1) / 4)
    same(losses.margin(eye, -eye, torch.tensor([True, False]), margin=3.0), (4 / 2 + 1 / 2) / 2)
    # negatives all at 0: none is harder; a tenth of them, taken for positives, is subtracted
    same(losses.reweighted(eye, eye, temperature=1.0, prior=0.0), math.log((e + 2) / e))
    g = max((1 - 0.1 * e) / 0.9, 1 / e)
    same(losses.reweighted(eye, eye, temperature=1.0, prior=0.1), math.log((e + 2 * g) / e))


def test_indifferent_embeddings_are_at_chance() -> None:
    z = torch.ones(8, 4)
    assert float(losses.nt_xent(z, z, temperature=0.1)) == pytest.approx(math.log(15), rel=1e-5)
    assert float(losses.clip(z, z, temperature=0.1)) == pytest.approx(math.log(8), rel=1e-5)
    assert float(losses.info_nce(z, z, z, temperature=0.1)) == pytest.approx(math.log(9), rel=1e-5)


def test_several_views_of_a_class_make_supcon_of_pairs_nt_xent() -> None:
    z1, z2 = draw(0, 2, 7, 4)
    z, labels = torch.cat((z1, z2)), torch.arange(7).repeat(2)
    expected = losses.nt_xent(z1, z2, temperature=0.2)
    for form in ("out", "in"):
        torch.testing.assert_close(losses.supcon(z, labels, temperature=0.2, form=form), expected)
    torch.testing.assert_close(losses.reweighted(z1, z2, temperature=0.2, hardness=0, prior=0), expected)
