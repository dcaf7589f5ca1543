"""From an embedding back to a text: a small causal Transformer that knows nothing of it but one vector."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twinlens.errors import InputError


class Speller(nn.Module):
    """A code (N, `dim`) and the words so far say the next one: logits (N, T, `vocabulary`).

    Wang, Reimers, Gurevych 2021, "TSDAE", arXiv 2104.06979, section 3: a Transformer decoder whose cross-attention has
    the code for its only key and value. The weight of a single key is 1, whatever is asked, so that it is a linear map
    of the code, added in each block between self-attention and perceptron. Words are embedded by the weights that
    predict them (its objective: h^T e). A learnt start stands before the first word, so that all are predicted. Norms
    come first in each block, unlike in the paper's BERT, as in our encoders.

    Args:
        dim: Width of the code.
        vocabulary: How many words there are.
        length: The words of a text, at most.
        width: Features of a token, a multiple of `heads`.
        depth: Number of blocks.
        heads: Attention heads of a block.
    """

    def __init__(self, dim: int, vocabulary: int, length: int, *, width: int, depth: int, heads: int) -> None:
        super().__init__()
        if width % heads or depth < 1:
            raise InputError(f"a decoder {width} wide of {heads} heads and {depth} blocks: expected a multiple, and 1.")
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(_Block(dim, width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, code: Tensor, ids: Tensor) -> Tensor:
        """`code` (N, dim) and `ids` (N, T) int64 -> what is said of each word from those before: (N, T, vocabulary)."""
        before = self.embed(ids[:, :-1].clamp(min=0))  # filled-up places come last, so that no word sees them
        x = torch.cat((self.start.expand(len(ids), 1, -1), before), dim=1) + self.positions[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, code)
        said: Tensor = F.linear(self.norm(x), self.embed.weight, self.bias)
        return said


class _Block(nn.Module):
    def __init__(self, dim: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cross = nn.Linear(dim, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (N, heads, T, d)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.project(mixed) + self.cross(code)[:, None]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
