"""The engine under the pairwise losses: sums over all pairs of rows, a tile at a time, without the M x K matrix.

`log_sum_exp` runs over tiles twice: forward it keeps a sum for each row, backward it makes the tiles anew. The plain
matrix takes 3 M K D multiply-adds and holds several copies of M x K; here the memory is O((M + K) D), and where a
matrix meets itself half of the tiles suffice (2 M^2 D in all). `summed` serves losses that are a plain sum over pairs:
each block's gradient is formed in the forward, and the block is forgotten.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = {"cpu": 256}  # rows and columns of a tile
TILE_ELSEWHERE = 4096  # a guess: 64 MiB of float32, large enough to keep a GPU busy
BLOCK = 2**20  # pairs at a time in `summed`: 4 MiB of float32, ten times over with what is made of them
KEPT = 2**20  # pairs whose tiles, 4 MiB of float32, are kept for the backward instead of made anew
SAFE = 64.0  # exp of at most this needs no shift in float32: sums stay under 1e38, terms above the denormals
NEGLIGIBLE = -60.0  # exp of less counts as exp of this, 1e-26: denormals made processors three times slower
FLOOR = -1e30  # a running maximum before it has seen anything: finite, so that differences are defined


@dataclass(frozen=True)
class Pairs:
    """Which pairs (i, j) count.

    Those whose ids, rows (M,) against columns (K,) int64, differ (with `equal`: are the same), and whose inner product
    is at most `below`. Without ids all do, but for those whose places differ by a multiple of `period`, if given (views
    of one sample, N rows apart; cheaper than ids). A row and itself, where a matrix meets itself, never count.
    """

    rows: Tensor | None = None
    columns: Tensor | None = None
    equal: bool = False
    below: float = torch.inf
    period: int = 0


def log_sum_exp(a: Tensor, b: Tensor | None, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Log of the sum of exp(<a_i, b_j>) over the pairs that count: along both axes.

    `a` (M, D) and `b` (K, D), float32 or float64, give (M,) and (K,); -inf where no pair counts. Without `b` the rows
    of `a` meet each other and both results are the same. Exact in value and gradient, up to rounding.
    """
    with torch.autocast(a.device.type, enabled=False):
        if b is None:
            rows: Tensor = _Within.apply(a, pairs)  # type: ignore[no-untyped-call]
            return rows, rows
        both: tuple[Tensor, Tensor] = _Between.apply(a, b, pairs)  # type: ignore[no-untyped-call]
        return both


class _Within(torch.autograd.Function):
    """The rows of one matrix among themselves: the tiles above the diagonal serve both of their sides."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, pairs: Pairs) -> Tensor:
        tiles = _Tiles(a, a, pairs, within=True)
        sums = _Sums(a, tiles.shifted)
        for i, j, tile in tiles:
            sums.add(i, tile, 1)
            if i != j:
                sums.add(j, tile, 0)
        result = sums.log()
        ctx.pairs = pairs
        ctx.save_for_backward(a, result, *tiles.kept)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        a, result, *kept = ctx.saved_tensors
        tiles = _Tiles(a, a, ctx.pairs, within=True, kept=kept)
        weigh, da = _Weights(tiles, (grad, result), (grad, result)), torch.zeros_like(a)
        for i, j, tile in tiles:
            g = weigh(i, j, tile)
            da[i].addmm_(g, a[j])
            if i != j:
                da[j].addmm_(g.T, a[i])
        return da, None


class _Between(torch.autograd.Function):
    """The rows of one matrix against those of another, sums along both sides."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        tiles = _Tiles(a, b, pairs)
        rows, columns = _Sums(a, tiles.shifted), _Sums(b, tiles.shifted)
        for i, j, tile in tiles:
            rows.add(i, tile, 1)
            columns.add(j, tile, 0)
        results = rows.log(), columns.log()
        ctx.pairs = pairs
        ctx.save_for_backward(a, b, *results, *tiles.kept)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        if grads[0] is None and grads[1] is None:
            return None, None, None
        a, b, rows, columns, *kept = ctx.saved_tensors
        tiles = _Tiles(a, b, ctx.pairs, kept=kept)
        weigh = _Weights(tiles, (grads[0], rows), (grads[1], columns))
        da, db = (torch.zeros_like(x) if needed else None for x, needed in zip((a, b), ctx.needs_input_grad))
        for i, j, tile in tiles:
            g = weigh(i, j, tile)
            if da is not None:
                da[i].addmm_(g, b[j])
            if db is not None:
                db[j].addmm_(g.T, a[i])
        return da, db, None


class _Tiles:
    """The tiles of s = a @ b.T as (rows, columns, tile), -inf where a pair does not count.

    With `within` only those on and above the diagonal. A tile holds exp(s), or, where that could overflow (`shifted`),
    s itself. All lie in one buffer and are made anew at each pass; those of a small matrix are `kept`.
    """

    def __init__(
        self, a: Tensor, b: Tensor, pairs: Pairs, *, within: bool = False, kept: Sequence[Tensor] = ()
    ) -> None:
        self.a, self.b, self.pairs, self.within, self.kept = a, b, pairs, within, list(kept)
        side = TILE.get(a.device.type, TILE_ELSEWHERE)
        self.rows, self.columns = _ranges(pairs.rows, len(a), side), _ranges(pairs.columns, len(b), side)
        self.shifted = bool(_longest(a) * (_longest(a) if a is b else _longest(b)) > SAFE)
        self.size = min(side, len(a)), min(side, len(b))

    def __iter__(self) -> Iterator[tuple[slice, slice, Tensor]]:
        buffer, kept = self.a.new_empty(self.size), iter(tuple(self.kept))
        keep = not self.kept and len(self.a) * len(self.b) <= (2 * KEPT if self.within else KEPT)
        for n, (i, low, high) in enumerate(self.rows):
            for j, lowest, highest in self.columns[n if self.within else 0 :]:
                disjoint = high < lowest or highest < low  # then there are no ids to compare
                if disjoint and self.pairs.equal:
                    continue
                if (tile := next(kept, None)) is None:
                    tile = self._make(i, j, self.a.new_empty(self.size) if keep else buffer, compare=not disjoint)
                if keep:
                    self.kept.append(tile)
                yield i, j, tile

    def _make(self, i: slice, j: slice, buffer: Tensor, *, compare: bool) -> Tensor:
        out = _part(buffer, i.stop - i.start, j.stop - j.start)
        s = torch.mm(self.a[i], self.b[j].T, out=out)
        if compare and self.pairs.rows is not None and self.pairs.columns is not None:
            same = self.pairs.rows[i, None] == self.pairs.columns[j]
            s.masked_fill_(~same if self.pairs.equal else same, -torch.inf)
        if self.pairs.period:
            first = (i.start - j.start + s.shape[0] - 1) % self.pairs.period - s.shape[0] + 1
            for offset in range(first, s.shape[1], self.pairs.period):
                s.diagonal(offset).fill_(-torch.inf)
        elif self.within and i == j and (self.pairs.rows is None or self.pairs.equal):
            s.fill_diagonal_(-torch.inf)
        if self.pairs.below < torch.inf:
            s.masked_fill_(s > self.pairs.below, -torch.inf)
        return s if self.shifted else s.exp_()


def _part(buffer: Tensor, height: int, width: int) -> Tensor:
    """The start of a buffer as a matrix of that shape."""
    if buffer.shape == (height, width):  # most tiles are whole, and small batches feel every call
        return buffer
    return buffer.view(-1)[: height * width].view(height, width)


def _runs(count: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, count)) for start in range(0, count, side)]


def _ranges(ids: Tensor | None, count: int, side: int) -> list[tuple[slice, float, float]]:
    """Runs of at most `side` rows, each with its lowest and its highest id, or with bounds that cost nothing."""
    if ids is None or count <= side:
        return [(run, -torch.inf, torch.inf) for run in _runs(count, side)]
    here = ids.cpu()
    return [(run, int(here[run].min()), int(here[run].max())) for run in _runs(count, side)]


def _longest(x: Tensor) -> Tensor:
    longest: Tensor = torch.linalg.vector_norm(x, dim=1).max()
    return longest


class _Sums:
    """Sums of exponentials for each row; where `shifted`, relative to the largest exponent so far: none overflows."""

    def __init__(self, x: Tensor, shifted: bool) -> None:
        self.total = x.new_zeros(len(x))
        self.top = x.new_full((len(x),), FLOOR) if shifted else None

    def add(self, run: slice, tile: Tensor, dim: int) -> None:
        """Adds a tile along `dim`."""
        if self.top is None:
            self.total[run] += tile.sum(dim)
            return
        top = torch.maximum(self.top[run], tile.amax(dim))
        terms = (tile - top.unsqueeze(dim)).exp_().sum(dim)
        self.total[run] = self.total[run] * (self.top[run] - top).exp() + terms
        self.top[run] = top

    def log(self) -> Tensor:
        return self.total.log() if self.top is None else self.total.log() + self.top


class _Weights:
    """A tile -> the loss's gradient with respect to its inner products, from the gradients of the log-sum-exps.

    d/ds_ij = g_i exp(s_ij - rows_i) + h_j exp(s_ij - columns_j), given (g, rows) and (h, columns).
    """

    def __init__(self, tiles: _Tiles, *sides: tuple[Tensor | None, Tensor]) -> None:
        self.shifted = tiles.shifted
        self.buffers = [tiles.a.new_empty(tiles.size) for _ in sides]  # memory is taken only where it is written
        self.sides: list[tuple[int, Tensor, Tensor]] = []  # axis of a tile, gradient, log-sum-exp or its exponential
        for axis, (grad, result) in enumerate(sides):
            some = result.isfinite()  # elsewhere nothing was summed, and nothing pulls
            if grad is not None and self.shifted:
                self.sides.append((axis, grad.where(some, 0), result.where(some, 0)))
            elif grad is not None:
                self.sides.append((axis, (grad * (-result).exp()).where(some, 0), result))

    def __call__(self, i: slice, j: slice, tile: Tensor) -> Tensor:
        """A matrix like `tile`, which is left as it is."""
        terms = []
        for (axis, grad, result), buffer in zip(self.sides, self.buffers):
            g, lse = (x[i, None] if axis == 0 else x[j] for x in (grad, result))
            if self.shifted:
                out = _part(buffer, *tile.shape)
                terms.append(torch.sub(tile, lse, out=out).clamp_(min=NEGLIGIBLE).exp_().mul_(g))
            else:
                terms.append(g)
        out = _part(self.buffers[0], *tile.shape)
        if not self.shifted:
            return torch.add(*terms, out=out).mul_(tile) if len(terms) > 1 else torch.mul(terms[0], tile, out=out)
        return (terms[0].add_(terms[1]) if len(terms) > 1 else out).masked_fill_(tile == -torch.inf, 0)


def summed(block: Callable[..., Tensor], width: int, *inputs: Tensor) -> Tensor:
    """The sum of `block(run, *inputs)` over runs of the first input's rows, each of which meets `width` others.

    Only one block's pairs exist at a time. It takes a slice and the inputs and gives (k,): a loss, whose gradient is
    formed at once where it is wanted, and numbers that are only counted, without gradient.
    """
    with torch.autocast(inputs[0].device.type, enabled=False):
        result: Tensor = _Summed.apply(block, max(1, BLOCK // width), *inputs)  # type: ignore[no-untyped-call]
    return result


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, block: Callable[..., Tensor], rows: int, *inputs: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[2:]
        leaves = [x.detach().requires_grad_(want) for x, want in zip(inputs, wanted)]
        learning = [leaf for leaf in leaves if leaf.requires_grad]
        grads = [torch.zeros_like(leaf) for leaf in learning]
        total = torch.zeros((), device=inputs[0].device)
        for run in _runs(len(inputs[0]), rows):
            with torch.set_grad_enabled(bool(learning)):
                part = block(run, *leaves)
                found = torch.autograd.grad(part[0], learning) if learning else ()
            for grad, new in zip(grads, found):
                grad += new
            total = total + part.detach()
        formed = iter(grads)
        ctx.save_for_backward(*(next(formed) if want else None for want in wanted))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(None if grad is None else grad * upstream[0] for grad in ctx.saved_tensors)
