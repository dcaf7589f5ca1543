"""Optimizers, and which parameters they decay."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

Name = Literal["adamw", "lars", "sgd"]


def optimizer(name: Name, module: nn.Module, *, rate: float, decay: float) -> torch.optim.Optimizer:
    """The optimizer over the parameters that learn, in two groups: matrices, and vectors (biases, norms' scales).

    Vectors are neither decayed nor, under LARS, adapted (Grill et al. 2020, section 3.3).
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in learning if parameter.ndim > 1], "weight_decay": decay},
        {"params": [parameter for parameter in learning if parameter.ndim <= 1], "weight_decay": 0.0, "trust": None},
    ]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9)
    return LARS(groups, lr=rate)


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv 1708.03888, algorithm 1).

    A group whose `trust` is None moves like plain momentum SGD.
    """

    def __init__(
        self, params: Any, *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0, trust: float | None = 0.001
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along the gradients that the parameters hold."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                direction = parameter.grad + group["weight_decay"] * parameter
                if group["trust"] is not None:
                    direction = direction * self._local_rate(parameter, direction, group["trust"])
                velocity = self.state[parameter].setdefault("velocity", torch.zeros_like(parameter))
                velocity.mul_(group["momentum"]).add_(direction, alpha=group["lr"])
                parameter.sub_(velocity)

    @staticmethod
    def _local_rate(parameter: torch.Tensor, direction: torch.Tensor, trust: float) -> torch.Tensor:
        weight, gradient = parameter.norm(), direction.norm()
        return torch.where((weight > 0) & (gradient > 0), trust * weight / gradient, 1.0)
