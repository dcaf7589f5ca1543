"""No two of one kind in a batch: an epoch's order, changed as little as that takes.

Of two captions of one picture, or of one text twice, each would be pushed from the other as if it were a negative.
"""

from collections import deque

import torch
from torch import Tensor

from twinlens.errors import InputError


def distinct(order: Tensor, ids: Tensor, batch: int) -> Tensor:
    """`order` (N,), samples of an epoch, so that no `batch` in a row from the first holds two of one id.

    `ids` (M,) int64 has the id of each sample, by its index. A sample whose id its batch already has is put off: each
    batch begins with one of each id that waits, the longest waiting first, and goes on with the order. Where the order
    ends while some still wait and no further batch of them can be full, they are dropped: N less the length of what
    comes back. That is most of an id that more samples have than there are batches, and else a few near the end. The
    same input gives the same order, and an order without a repeat comes back as it is. Linear in N.

    Raises:
        InputError: where `batch` is below 1, or above the number of different ids, so that no batch could be full.
    """
    if batch < 1:
        raise InputError(f"batch = {batch}: expected at least 1 sample.")
    own = ids.cpu()[order.cpu()]
    if (kinds := len(own.unique())) < batch:
        raise InputError(
            f"batch = {batch}: expected at most {kinds}, the number of different samples; choose a smaller batch."
        )
    samples, names = order.tolist(), own.tolist()
    waiting: dict[int, deque[int]] = {}  # by id, the longest waiting id first
    done: list[int] = []
    place = 0
    while place < len(names) or len(waiting) >= batch:
        start = place
        chosen, seen = _waited(waiting, batch)
        place = start + batch - len(chosen)
        fresh = set(names[start:place])
        if len(fresh) == len(names[start:place]) and fresh.isdisjoint(seen):  # as a rule, and fast
            done += chosen + samples[start:place]
            continue
        place = start
        while len(chosen) < batch and place < len(names):
            name = names[place]
            if name in seen:
                waiting.setdefault(name, deque()).append(samples[place])
            else:
                seen.add(name)
                chosen.append(samples[place])
            place += 1
        done += chosen
    return torch.tensor(done, dtype=order.dtype, device=order.device)


def _waited(waiting: dict[int, deque[int]], batch: int) -> tuple[list[int], set[int]]:
    """Takes one sample of each id that waits, at most `batch`, and gives them and their ids.

    An id of which more wait goes to the end: so all ids have their turn, and no sample is looked at twice.
    """
    names = [name for name, _ in zip(waiting, range(batch))]
    chosen = []
    for name in names:
        those = waiting.pop(name)
        chosen.append(those.popleft())
        if those:
            waiting[name] = those
    return chosen, set(names)
