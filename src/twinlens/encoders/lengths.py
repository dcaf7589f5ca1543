"""Texts of like lengths together, so that little of a batch is what fills rows up."""

from collections.abc import Callable

import torch
from torch import Tensor

from twinlens.dropout import parted

_TOGETHER, _FULL = 16, 0.9  # texts of a group (a guess); a share of words in a batch that nothing is gained above


def by_length(embed: Callable[[Tensor], Tensor], view: Tensor) -> Tensor:
    """`embed` of words (N, T) int64, of which negative ones fill rows up on the right, group by group: (N, D).

    The order stays, and so does what counted dropout drops. On a GPU all go at once.
    """
    if view.device.type != "cpu":
        return embed(view)
    there = view >= 0
    count = there.sum(dim=1)
    if float(there.float().mean()) > _FULL or len(view) <= _TOGETHER:
        return embed(view)
    groups = count.argsort(stable=True).split(_TOGETHER)
    found = [embed(view[rows, : max(int(count[rows].max()), 1)]) for rows in parted(groups, len(view))]
    return torch.cat(found)[torch.cat(groups).argsort()]
