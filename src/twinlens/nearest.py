"""Exact nearest neighbours by inner product, in blocks, so that the M x N similarities never exist at once."""

from collections.abc import Iterator

import torch
from torch import Tensor

_GROUP = 32
_WORD = 0xFFFFFFFF
_FEW = 8  # queries for which grouping costs more than it spares (1 in 50,000 x 128: 29 ms, without it 18 ms)


def top_k(query: Tensor, bank: Tensor, k: int, *, rows: int = 512, chunk: int = 8192) -> tuple[Tensor, Tensor]:
    """The `k` rows of `bank` (N, D) with the largest inner product with each row of `query` (M, D), largest first.

    Returns similarities (M, k) float32 and indices (M, k) int64, on the device of the inputs; of equal similarities the
    lower index comes first. A `k` above N is cut to N. No more than `rows` x `chunk` similarities exist at a time.
    Callers normalise where they want cosines.
    """
    query, bank = query.detach().float(), bank.detach().float()
    best = torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    for part, start, size in _blocks(bank, chunk, _GROUP if len(query) > _FEW else 1):
        found = torch.cat([_scan(some, part, start, size, k) for some in query.split(rows)])
        both = torch.cat((best, found), dim=1)
        best = both.topk(min(k, both.shape[1])).values
    return _unpack(best)


def _blocks(bank: Tensor, chunk: int, group: int) -> Iterator[tuple[Tensor, int, int]]:
    """(rows, index of the first, size of a group), with member j of group g at row j * groups + g.

    In that order the members of a group are consecutive in the bank, while a maximum over members runs along memory.
    """
    step, whole = max(chunk // group, 1) * group, len(bank) - len(bank) % group
    for start in range(0, whole, step):
        groups = bank[start : min(start + step, whole)].unflatten(0, (-1, group))
        yield groups.transpose(0, 1).flatten(0, 1), start, group
    if whole < len(bank):
        yield bank[whole:], whole, 1


def _scan(query: Tensor, bank: Tensor, start: int, size: int, k: int) -> Tensor:
    """The ranks of the best `k` of one block: (m, D), (n, D) -> (m, min(k, n)) int64.

    A group that holds one of the best k has one of the best k maxima, so all but k groups are set aside by one cheap
    pass. Groups are runs of indices and ties go to the lower, hence the same holds among equal similarities.
    """
    similarity = (query @ bank.T).unflatten(1, (size, -1))  # (m, size, groups)
    groups = torch.arange(similarity.shape[2], device=bank.device)
    leading = _pack(similarity.amax(1), groups).topk(min(k, len(groups))).values
    group = _WORD - (leading & _WORD)[:, None]  # (m, 1, k)
    index = start + group * size + torch.arange(size, device=bank.device)[:, None]  # (m, size, k)
    ranks = _pack(similarity.gather(2, group.expand_as(index)), index).flatten(1)
    return ranks.topk(min(k, ranks.shape[1])).values


def _pack(similarity: Tensor, index: Tensor) -> Tensor:
    """One int64 that orders by similarity, then by lower index: no two are equal, so no order is left to chance.

    The bits of a float32, all but the sign flipped where it is negative, order as integers do.
    """
    word = (similarity + 0.0).view(torch.int32)  # the sum turns -0 into 0, its equal
    return ((word ^ ((word >> 31) & 0x7FFFFFFF)).long() << 32) | (_WORD - index)


def _unpack(rank: Tensor) -> tuple[Tensor, Tensor]:
    word = (rank >> 32).int()
    return (word ^ ((word >> 31) & 0x7FFFFFFF)).view(torch.float32), _WORD - (rank & _WORD)
