"""A temperature that is learnt."""

import math

import torch
from torch import Tensor, nn


class Temperature(nn.Module):
    """A scalar above `least`, learnt as the log of its inverse (Radford et al. 2021, arXiv 2103.00020, section 2.5).

    `initial` 0.07 and `least` 0.01 are the paper's: logits are never scaled by more than 100. The parameter itself is
    brought back to the limit before it is used, so that its gradient never dies there.
    """

    def __init__(self, initial: float = 0.07, *, least: float = 0.01) -> None:
        super().__init__()
        assert initial >= least > 0
        self.log_scale = nn.Parameter(torch.tensor(-math.log(initial)))
        self.largest = -math.log(least)

    def forward(self) -> Tensor:
        with torch.no_grad():
            self.log_scale.clamp_(max=self.largest)
        return (-self.log_scale).exp()
