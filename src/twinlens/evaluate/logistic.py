"""Multinomial logistic regression, many problems at once, by preconditioned L-BFGS.

Shapes: B sets of n rows, P problems on each set (folds, say), D features, K classes. Weights are (B, P, K, D + 1) with
the intercept last; logits lie as (B, P, K, n), rows last, because all that is done to them then runs along memory.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_MEMORY = 8


class Axes(NamedTuple):
    """Directions in which features vary most, vectors (D, r) and variances (r,) ascending, to precondition by."""

    vectors: Tensor
    variances: Tensor


def principal(x: Tensor, *, count: int = 128, rows: int = 1024) -> Axes:
    """The leading `count` principal axes of centred `x` (N, D), estimated from at most `rows` rows, evenly spaced."""
    some = x[:: -(-len(x) // rows)]
    wide = some.shape[1] > some.shape[0]
    values, vectors = _eigh((some @ some.T if wide else some.T @ some) / len(some))
    values, vectors = values[-count:].clamp_min(1e-6 * float(values[-1])), vectors[:, -count:]
    return Axes(some.T @ vectors / (values * len(some)).sqrt() if wide else vectors, values)


def _eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    """A symmetric matrix's eigenvalues and vectors, in float64 where float32 does not converge, as after collapse."""
    try:
        values, vectors = torch.linalg.eigh(a)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # documented, not exported
        values, vectors = torch.linalg.eigh(a.double())
    return values.to(a.dtype), vectors.to(a.dtype)


def logits(x: Tensor, weights: Tensor) -> Tensor:
    """(B, n, D) and (B, P, K, D + 1) -> (B, P, K, n)."""
    product = weights[..., :-1].flatten(1, 2) @ x.mT
    logit: Tensor = product.unflatten(1, weights.shape[1:3]) + weights[..., -1:]
    return logit


def cross_entropy(logit: Tensor, y: Tensor) -> Tensor:
    """(B, P, K, n) and (B, n) -> (B, P, n)."""
    own = logit.gather(2, y[:, None, None].expand(-1, logit.shape[1], 1, -1)).squeeze(2)
    return logit.logsumexp(2) - own


def fit(
    x: Tensor,
    y: Tensor,
    rows: Tensor,
    penalty: Tensor,
    start: Tensor,
    axes: Axes,
    *,
    tolerance: float,
    steps: int = 500,
) -> Tensor:
    """The weights that minimise sum_n rows[p, n] * cross-entropy + penalty / 2 * |weights without intercept|^2.

    x (B, n, D), y (B, n), rows (P, n), penalty (B, P), start (B, P, K, D + 1) -> as `start`. A problem is done when its
    quasi-Newton step promises a decrease below tolerance^2 nats: the objective is convex, so that is its minimum.
    L-BFGS is Nocedal and Wright 2006, algorithms 7.4 and 7.5.
    """
    hot = start.new_zeros(len(x), 1, start.shape[2], x.shape[1]).scatter_(2, y[:, None, None], 1)  # (B, 1, K, n)
    ridge = penalty[..., None, None].expand(*start.shape[:2], 1, start.shape[3]).clone()
    ridge[..., -1] = 0

    def gradient(share: Tensor) -> Tensor:
        residual = (share - hot) * rows[:, None]
        slopes = (residual.flatten(1, 2) @ x).unflatten(1, start.shape[1:3])
        return torch.cat((slopes, residual.sum(-1, keepdim=True)), dim=-1) + ridge * weights

    weights, logit, pairs = start, logits(x, start), list[_Pair]()
    done = torch.zeros_like(penalty, dtype=torch.bool)
    share = logit.softmax(2)
    steepest = gradient(share)
    for _ in range(steps):
        direction = -_descend(steepest, pairs, ridge, axes)
        done |= _dot(steepest, direction) > -(tolerance**2)
        if done.all():
            break
        direction = torch.where(done[..., None, None], 0, direction)
        along = logits(x, direction)
        bend = (_dot(ridge * weights, direction), _dot(ridge * direction, direction))
        length = _length(logit, along, share, y, rows, _dot(steepest, direction), bend)[..., None, None]
        weights, logit = weights + length * direction, logit + length * along
        share = logit.softmax(2)
        last, steepest = steepest, gradient(share)
        pairs = [*pairs[1 - _MEMORY :], _pair(length * direction, steepest - last, ridge, axes)]
    return weights


def _length(
    logit: Tensor, along: Tensor, share: Tensor, y: Tensor, rows: Tensor, slope: Tensor, bend: tuple[Tensor, Tensor]
) -> Tensor:
    """How far to go, (B, P): Newton's length along the line, halved until the decrease is sufficient (ibid., eq. 3.6a).

    Logits are linear in the weights, so no trial costs a product with x. `bend` are the penalty's slope and curvature.
    """
    tiny, eps = torch.finfo(logit.dtype).tiny, 4 * torch.finfo(logit.dtype).eps
    spread = (share * (along - (share * along).sum(2, keepdim=True)).square()).sum(2)  # (B, P, n)
    length = -slope / ((spread * rows).sum(-1) + bend[1]).clamp_min(tiny)
    here = (cross_entropy(logit, y) * rows).sum(-1)
    for _ in range(30):
        there = (cross_entropy(logit + length[..., None, None] * along, y) * rows).sum(-1)
        change = there - here + length * bend[0] + length.square() * bend[1] / 2
        far = change > 1e-4 * length * slope + eps * here
        if not far.any():
            break
        length = torch.where(far, length / 2, length)
    return length


class _Pair(NamedTuple):
    """A step, the change of gradient over it, 1 / their product, and the scale of the inverse Hessian seen there."""

    step: Tensor
    change: Tensor
    inverse: Tensor
    scale: Tensor


def _pair(step: Tensor, change: Tensor, ridge: Tensor, axes: Axes) -> _Pair:
    product, length = _dot(step, change), _dot(change, _precondition(change, ridge, axes))
    moved = product > 0  # not so where a problem is done
    inverse = torch.where(moved, 1 / product, 0)
    return _Pair(step, change, inverse, torch.where(moved, product / length, 1)[..., None, None])


def _descend(gradient: Tensor, pairs: list[_Pair], ridge: Tensor, axes: Axes) -> Tensor:
    """The inverse Hessian, as the pairs know it, times the gradient."""
    found, shares = gradient, list[Tensor]()
    for pair in reversed(pairs):
        shares.append((pair.inverse * _dot(pair.step, found))[..., None, None])
        found = found - shares[-1] * pair.change
    found = _precondition(found, ridge, axes)
    found = found * pairs[-1].scale if pairs else found
    for pair, share in zip(pairs, reversed(shares)):
        found = found + (share - (pair.inverse * _dot(pair.change, found))[..., None, None]) * pair.step
    return found


def _precondition(vector: Tensor, ridge: Tensor, axes: Axes) -> Tensor:
    """The inverse of the Hessian at zero weights, where all K classes are equally likely: covariance / K + penalty.

    The classes' coupling is left out, and directions outside `axes` are taken to vary as the least of them does.
    """
    classes, penalty = vector.shape[2], ridge[..., :1]
    inner, outer = (1 / (variance / classes + penalty) for variance in (axes.variances, axes.variances[0]))
    slopes = vector[..., :-1]
    turned = outer * slopes + (slopes @ axes.vectors * (inner - outer)) @ axes.vectors.T
    return torch.cat((turned, classes * vector[..., -1:]), dim=-1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1))
