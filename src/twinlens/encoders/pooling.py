"""Tokens of a text -> its embedding, in the ways that sentence-transformers knows."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twinlens.errors import InputError, unknown


def _first(tokens: Tensor, there: Tensor) -> Tensor:
    return tokens[torch.arange(len(tokens), device=tokens.device), there.int().argmax(dim=1)]


def _last(tokens: Tensor, there: Tensor) -> Tensor:
    places = torch.arange(there.shape[1], device=there.device) * there  # (N, T)
    return tokens[torch.arange(len(tokens), device=tokens.device), places.argmax(dim=1)]


def _most(tokens: Tensor, there: Tensor) -> Tensor:
    return tokens.masked_fill(~there[..., None], float("-inf")).amax(dim=1)


def _weighted(tokens: Tensor, weights: Tensor) -> Tensor:
    weights = weights.to(tokens)[..., None]  # (N, T, 1)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def _over_root(tokens: Tensor, there: Tensor) -> Tensor:
    return _weighted(tokens, there) * there.sum(dim=1, keepdim=True).to(tokens).sqrt()


def _later_more(tokens: Tensor, there: Tensor) -> Tensor:
    return _weighted(tokens, there * torch.arange(1, there.shape[1] + 1, device=there.device))


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _most,
    "mean": _weighted,
    "mean_sqrt_len_tokens": _over_root,
    "weightedmean": _later_more,
    "lasttoken": _last,
}
"""Of tokens (N, T, D) and which are there (N, T) bool, of each row one or more: (N, D). The names are theirs.

To the mean, how much each counts may be given for which are there.
"""


class Pooling(nn.Module):
    """Tokens (N, T, D) -> (N, M D), what each of M `modes` makes of them side by side."""

    def __init__(self, modes: Sequence[str]) -> None:
        super().__init__()
        for mode in modes:
            if mode not in POOLINGS:
                raise unknown("pooling", mode, POOLINGS)
        self.modes = tuple(modes)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        return torch.cat([POOLINGS[mode](tokens, there) for mode in self.modes], dim=1)


ACTIVATIONS = {kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)}


class Dense(nn.Module):
    """A linear layer and an activation: (N, D) -> (N, D')."""

    def __init__(self, into: int, out: int, *, bias: bool = True, activation: str = "Tanh") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)
        if min(into, out) < 1:
            raise InputError(f"a linear layer of {into} -> {out} features: expected 1 or more of both.")
        self.linear, self.activation = nn.Linear(into, out, bias=bias), ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.linear(x))
        return y


class Normalize(nn.Module):
    """(N, D) -> (N, D), each of unit length."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)
