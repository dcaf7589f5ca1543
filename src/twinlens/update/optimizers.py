"""Optimizers, and which parameters they decay."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from twinlens.rate import Rate

Name = Literal["adamw", "lars", "sgd"]


def optimizer(name: Name, module: nn.Module, *, rate: float, decay: float) -> torch.optim.Optimizer:
    """The optimizer over the parameters that learn: for each rate there is, a group of matrices and one of vectors.

    Vectors (biases, norms' scales) are neither decayed nor, under LARS, adapted (Grill et al. 2020, section 3.3). Every
    group says in `factor` and `fixed` what its rate is to be.
    """
    rates: dict[nn.Parameter, Rate] = {}
    for part in module.modules():  # the outer ones first
        own = getattr(part, "_twinlens_rate", None)
        rates |= {parameter: own or rates.get(parameter, Rate()) for parameter in part.parameters()}
    groups: list[dict[str, Any]] = []
    for each in dict.fromkeys(rates.values()):
        of_rate = [parameter for parameter in rates if rates[parameter] == each and parameter.requires_grad]
        common: dict[str, Any] = {"factor": each.factor, "fixed": each.fixed, "lr": rate * each.factor}
        if each.momentum is not None:
            common |= {"betas": (each.momentum, 0.999)} if name == "adamw" else {"momentum": each.momentum}
        matrices, vectors = ([p for p in of_rate if (p.ndim > 1) == matrix] for matrix in (True, False))
        groups += [{"params": matrices, "weight_decay": decay} | common] if matrices else []
        groups += [{"params": vectors, "weight_decay": 0.0, "trust": None} | common] if vectors else []
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
