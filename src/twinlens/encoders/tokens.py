"""One transformer over tokens, whatever they were cut from: pictures, words, sounds, frames."""

from math import sqrt
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.dropout import Dropout
from twinlens.encoders.lengths import by_length
from twinlens.encoders.transformer import Transformer, linear, norm, sincos
from twinlens.errors import InputError


class Cut(Protocol):
    """How a view is cut into tokens. `shape` is that of one view, without the sample's axis.

    `grid` says where tokens lie: (T,) in a sequence, (rows, columns) in a picture, (frames, rows, columns) in a clip.
    `patch_dim` is P, the numbers under a token; where they are ids of words, `vocabulary` says of how many, else None.
    """

    shape: tuple[int, ...]
    grid: tuple[int, ...]
    patch_dim: int
    vocabulary: int | None

    def grid_of(self, view: Tensor) -> tuple[int, ...]:
        """The grid of views that may have another size than `shape`; InputError where they cannot be cut."""

    def patchify(self, view: Tensor) -> Tensor:
        """(N, ...) -> (N, T, P), tokens in the order of the grid read row by row."""

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, P) -> (N, *shape), the inverse of `patchify` for views of `shape`."""


class Table(nn.Module):
    """A row of `width` features for each of `words` ids (...) int64: (..., width).

    Rows have a variance of 1 / `width` at the start and are multiplied by its root (Vaswani et al. 2017, section 3.4).
    So they begin as large as their places, and a step of Adam, which is as long whatever it moves, moves them far
    enough: drawn with a variance of 1, words stayed near where they had been drawn.
    """

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.scale = sqrt(width)
        self.weight = nn.Parameter(torch.randn(words, width) / self.scale)

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight) * self.scale

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Lets the words start from `vectors` (words, width), each at a mean of 0 and a variance of 1.

        A tenth of where they were drawn is added (a guess), so that words that are never told apart by what stands near
        them do not lie in one point. Words without a vector, zeros, stay where they were drawn.
        """
        known = vectors.any(dim=1, keepdim=True)
        placed = F.layer_norm(vectors, vectors.shape[1:]) / self.scale + self.weight / 10
        self.weight.copy_(torch.where(known, placed, self.weight))


class Tokens(nn.Module):
    """What lies under each token embedded, fixed positions, a Transformer, and the mean over tokens, or all of them.

    There is no class token: the mean serves as well (Dosovitskiy et al. 2021, appendix D.3; He et al. 2022, appendix
    A.1). A view may have another size than `shape` (multi-crop); its positions are then those of its own grid. Where it
    is `causal`, a token sees itself and those before it, row by row.

    Words are ids; negative ones (`batch.PAD`) fill a row up on the right: no other word sees them, and they do not
    count in the mean. There each word counts as much as `word_weights` (V,) says, 1 unless set, which do not learn.
    What is embedded of a word and its place is normalised before the first block, and a share `dropout` of it dropped,
    as in BERT (Devlin et al. 2019, authors' code). Blocks over words add nothing at the start: an encoder begins as the
    weighed mean of its words, each with its place and normalised.
    """

    positions: Tensor

    def __init__(
        self, cut: Cut, *, width: int, depth: int, heads: int, pool: bool, causal: bool, dropout: float = 0.0,
        word_vectors: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}: expected a share of 0 or more and below 1.")
        self.cut, self.pool, self.causal, self.word_vectors = cut, pool, causal, word_vectors
        self.shape, self.grid, self.patch_dim, self.vocabulary = cut.shape, cut.grid, cut.patch_dim, cut.vocabulary
        self.register_buffer("positions", sincos(self.grid, width), persistent=False)  # (T, D)
        self.count, self.width = len(self.positions), width
        self.dim = width if pool else self.count * width
        self.embed = Table(cut.vocabulary, width) if cut.vocabulary else linear(cut.patch_dim, width)
        self.embed_norm = norm(width) if cut.vocabulary else None
        if cut.vocabulary:  # a parameter and no buffer, so that every process gets those of the first
            self.word_weights = nn.Parameter(torch.ones(cut.vocabulary), requires_grad=False)  # (V,)
        self.drop = Dropout(dropout)
        self.body = Transformer(width, depth, heads, dropout=dropout, identity=bool(cut.vocabulary))

    def patchify(self, view: Tensor) -> Tensor:
        """(N, ...) -> (N, T, P): what lies under each token."""
        return self.cut.patchify(view)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, P) -> (N, *shape), the inverse of `patchify` for views of the encoder's own size."""
        return self.cut.unpatchify(patches)

    def tokens(
        self, view: Tensor, keep: Tensor | None = None, *, among: Tensor | None = None, mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """(N, ...) -> (N, T, D), or (N, K, D) of the tokens `keep` (N, K) int64 alone: nothing else is computed.

        Where `among` (N, K) bool does not hold, a token fills a row up, and no other sees it. Where `mask` (N, K) bool
        holds, `mask_token` (D) takes the place of what is embedded; the position stays. Without `keep`, K is T.
        """
        attend = self._attend(keep, self._among(view, keep, among))
        out: Tensor = self.body(self._embedded(view, keep, mask, mask_token), attend)
        return out

    def layers(self, view: Tensor) -> Tensor:
        """(N, ...) -> (L, N, T, D), what each block gives."""
        return self.body.layers(self._embedded(view, None, None, None), self._attend(None, self._among(view)))

    def pooled(self, tokens: Tensor, view: Tensor | None = None) -> Tensor:
        """A view's tokens (N, T, D) -> its embedding: their mean, or all of them side by side, T being what it is.

        Of a `view` (N, T) of words that is given, each counts by its weight, and those that fill a row up do not.
        """
        if self.pool and self.vocabulary and view is not None:
            weights = self.word_weights[view.clamp(min=0)].masked_fill(view < 0, 0.0)[..., None]  # (N, T, 1)
            return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        if not self.pool and tokens.shape[1] != self.count:
            raise InputError(
                f"a view of {tokens.shape[1]} patches cannot be embedded as {self.count} side by side: pool tokens "
                f"(--pool true), or have all views of one size (--small_views 0)."
            )
        return tokens.mean(dim=1) if self.pool else tokens.flatten(1)

    def forward(self, view: Tensor) -> Tensor:
        """`view` (N, ...) -> its embedding, (N, D) or (N, T * D).

        In training on a processor texts of like lengths go together, so that less is filled up.
        """
        apart = self.training and self.pool and self.vocabulary
        return by_length(self._embedding, view) if apart else self._embedding(view)

    def _embedding(self, view: Tensor) -> Tensor:
        return self.pooled(self.tokens(view), view)

    def _embedded(self, view: Tensor, keep: Tensor | None, mask: Tensor | None, mask_token: Tensor | None) -> Tensor:
        positions, patches = self._place(view), self.patchify(view)  # (T, D), (N, T, P)
        if keep is not None:
            patches, positions = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2])), positions[keep]
        embedded = self.embed(patches[..., 0].clamp(min=0) if self.vocabulary else patches)
        if mask is not None and mask_token is not None:
            embedded = torch.where(mask[..., None], mask_token.to(embedded), embedded)
        placed: Tensor = embedded + positions
        return placed if self.embed_norm is None else self.drop(self.embed_norm(placed))

    def _among(self, view: Tensor, keep: Tensor | None = None, among: Tensor | None = None) -> Tensor | None:
        """`among`, without words that fill a row up. In a causal encoder all of those come too late to be seen."""
        if not self.vocabulary or (self.causal and keep is None and among is None):
            return among
        there = view >= 0 if keep is None else view.gather(1, keep) >= 0  # (N, K)
        there = there | ~there.any(dim=1, keepdim=True)  # a row of nothing is not to be a row of NaN
        return there if among is None else there & among

    def _attend(self, keep: Tensor | None, among: Tensor | None) -> Tensor | bool | None:
        """Which tokens see which: (N, 1, K, K) bool, or True where each sees those before it, or None where all."""
        if keep is None:
            if among is None:
                return self.causal or None
            keep = torch.arange(among.shape[1], device=among.device)[None]
        before = keep[:, None, :, None] >= keep[:, None, None, :] if self.causal else None
        if among is None:
            return before
        itself = torch.eye(keep.shape[1], dtype=torch.bool, device=keep.device)  # so that no row is empty
        seen = among[:, None, None, :] | itself
        return seen if before is None else seen & before

    def _place(self, view: Tensor) -> Tensor:
        grid = self.cut.grid_of(view)
        if len(grid) == 1 and grid[0] <= self.grid[0]:
            return self.positions[: grid[0]]
        return self.positions if grid == self.grid else sincos(grid, self.width).to(self.positions)
