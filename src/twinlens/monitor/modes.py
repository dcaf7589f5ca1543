"""How much of the data a generator draws."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from twinlens.monitor.geometry import perplexity

_CELLS = 7  # the side of what pictures are reduced to


def modes(generated: Tensor, real: Tensor) -> float:
    """How many of `real` (M, F) are nearest to some of `generated` (N, F): 1 where all that is generated is alike.

    The perplexity of the assignment to nearest neighbours, which says little by itself: other real samples share
    neighbours too, so it is to be compared with what as many of them give.
    """
    nearest = torch.cdist(generated.float(), real.float()).argmin(dim=1)
    return perplexity(nearest, len(real))


def coarse(view: Tensor) -> Tensor:
    """What a view (N, *shape) is compared by, (N, F): a picture's means over about 7 x 7 cells, else all its values.

    Independent of what is learnt, so that its count is the same scale in all runs; fine textures, which nearest
    neighbours do not compare well, are averaged out.
    """
    if view.ndim == 4 and (cell := min(view.shape[2:]) // _CELLS) > 1:
        view = avg_pool2d(view, cell)
    return view.flatten(1)
