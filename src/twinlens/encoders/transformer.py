"""A pre-norm Transformer over tokens of any modality, and fixed positions for a grid of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twinlens.dropout import Dropout
from twinlens.errors import InputError

Attend = Tensor | bool | None
"""Which tokens see which: (N, 1, T, T) bool, or True where each sees itself and those before it, None where all do."""


def linear(into: int, out: int, *, maps: int = 1) -> nn.Linear:
    """`maps` linear maps of `into` -> `out` features side by side.

    Xavier-uniform weights (He et al. 2022, "Masked autoencoders", appendix A.1), drawn for each map by itself; zero
    biases.
    """
    layer = nn.Linear(into, maps * out)
    for weight in layer.weight.chunk(maps):
        nn.init.xavier_uniform_(weight)
    nn.init.zeros_(layer.bias)
    return layer


def norm(dim: int) -> nn.LayerNorm:
    """Layer norm with the epsilon of Dosovitskiy et al. 2021 (their code; the paper names none)."""
    return nn.LayerNorm(dim, eps=1e-6)


class Attention(nn.Module):
    """Multi-head self-attention (Dosovitskiy et al. 2021, appendix A): (N, T, D) -> (N, T, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = linear(dim, dim, maps=3)
        self.project = linear(dim, dim)

    def forward(self, x: Tensor, attend: Attend = None) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (N, T, 3, heads, D / heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (N, heads, T, D / heads) each
        seen = {"attn_mask": attend} if isinstance(attend, Tensor) else {"is_causal": bool(attend)}
        mixed = F.scaled_dot_product_attention(q, k, v, **seen).transpose(1, 2).flatten(2)  # (N, T, D)
        out: Tensor = self.project(mixed)
        return out


class Block(nn.Module):
    """Attention, then a perceptron, each after a norm and beside a shortcut (Dosovitskiy et al. 2021, eq. 2 and 3)."""

    def __init__(self, dim: int, heads: int, ratio: int, dropout: float = 0.0, *, identity: bool = False) -> None:
        super().__init__()
        self.norm1, self.attend = norm(dim), Attention(dim, heads)
        first, last = linear(dim, ratio * dim), linear(ratio * dim, dim)
        self.norm2, self.mlp = norm(dim), nn.Sequential(first, nn.GELU(), last)
        self.drop = Dropout(dropout)
        for layer in (self.attend.project, last) if identity else ():
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, attend: Attend = None) -> Tensor:
        x = x + self.drop(self.attend(self.norm1(x), attend))
        out: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return out


class Transformer(nn.Module):
    """`depth` blocks and a last norm: tokens (N, T, D) -> (N, T, D).

    Args:
        dim: Width D of a token, a multiple of `heads`.
        depth: Number of blocks.
        heads: Attention heads of a block.
        ratio: Width of a block's perceptron over D (Vaswani et al. 2017, table 3).
        dropout: Share dropped of what a block's attention and its perceptron add. Of the attention itself nothing is
            dropped, unlike there, so that it needs no T x T weights in memory.
        identity: Let blocks add nothing at the start, so that tokens leave as they came (Bachlechner et al. 2020,
            "ReZero is all you need", arXiv 2003.04887), the last weights of what is beside a shortcut being zero
            (Zhang et al. 2019, "Fixup initialization", arXiv 1901.09321, section 3).
    """

    def __init__(
        self, dim: int, depth: int, heads: int, *, ratio: int = 4, dropout: float = 0.0, identity: bool = False
    ) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"a width of {dim} does not split into {heads} heads: choose a multiple of {heads}.")
        self.dim = dim
        self.blocks = nn.Sequential(*(Block(dim, heads, ratio, dropout, identity=identity) for _ in range(depth)))
        self.norm = norm(dim)

    def forward(self, tokens: Tensor, attend: Attend = None) -> Tensor:
        """`tokens` (N, T, D), their positions already in them -> (N, T, D)."""
        for block in self.blocks:
            tokens = block(tokens, attend)
        out: Tensor = self.norm(tokens)
        return out

    def layers(self, tokens: Tensor, attend: Attend = None) -> Tensor:
        """`tokens` (N, T, D) -> (L, N, T, D): what each block gives, before the last norm."""
        found = []
        for block in self.blocks:
            tokens = block(tokens, attend)
            found.append(tokens)
        return torch.stack(found)


def _angles(count: int, dim: int) -> Tensor:
    rates = 10000 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    return torch.arange(count, dtype=torch.float64)[:, None] * rates  # (count, dim / 2)


def sincos(grid: Sequence[int], dim: int) -> Tensor:
    """Fixed positions of a grid read row by row: (T, dim), T = prod(grid), each axis of the grid in a part of its own.

    Each part is Vaswani et al. 2017, section 3.5: sin(p / 10000^(2i/d)) at 2i, its cosine at 2i + 1, with d its width.
    In two dimensions as in He et al. 2022, appendix A.1; where `dim` does not split evenly, the first parts are wider.
    """
    axes = len(grid)
    of = 4 if axes == 2 else 2
    if dim % of or dim < 2 * axes:
        needed = f"a multiple of {of}" if dim % of else f"{2 * axes} or more"
        raise InputError(f"positions on a grid of {axes} axes need a width that is {needed}, not {dim}.")
    pairs = [(dim // 2 + axes - 1 - axis) // axes for axis in range(axes)]  # dim / 2 in all
    places = torch.cartesian_prod(*(torch.arange(length) for length in grid)).reshape(-1, axes)  # (T, axes)
    parts = [_angles(length, 2 * width) for length, width in zip(grid, pairs, strict=True)]
    angles = torch.cat([part[places[:, axis]] for axis, part in enumerate(parts)], dim=1)  # (T, dim / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).to(torch.get_default_dtype())
