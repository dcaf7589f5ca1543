"""One transformer over tokens, whatever they were cut from: pictures, words, sounds, frames."""

from typing import Protocol

import torch
from torch import Tensor, nn

from twinlens.encoders.transformer import Transformer, linear, sincos
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


class Tokens(nn.Module):
    """What lies under each token embedded, fixed positions, a Transformer, and the mean over tokens, or all of them.

    There is no class token: the mean serves as well (Dosovitskiy et al. 2021, appendix D.3; He et al. 2022, appendix
    A.1). A view may have another size than `shape` (multi-crop); its positions are then those of its own grid. Where it
    is `causal`, a token sees itself and those before it, row by row.
    """

    positions: Tensor

    def __init__(self, cut: Cut, *, width: int, depth: int, heads: int, pool: bool, causal: bool) -> None:
        super().__init__()
        self.cut, self.pool, self.causal = cut, pool, causal
        self.shape, self.grid, self.patch_dim, self.vocabulary = cut.shape, cut.grid, cut.patch_dim, cut.vocabulary
        self.register_buffer("positions", sincos(self.grid, width), persistent=False)  # (T, D)
        self.count, self.width = len(self.positions), width
        self.dim = width if pool else self.count * width
        self.embed = nn.Embedding(cut.vocabulary, width) if cut.vocabulary else linear(cut.patch_dim, width)
        self.body = Transformer(width, depth, heads)

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
        out: Tensor = self.body(self._embedded(view, keep, mask, mask_token), self._attend(keep, among))
        return out

    def layers(self, view: Tensor) -> Tensor:
        """(N, ...) -> (L, N, T, D), what each block gives."""
        return self.body.layers(self._embedded(view, None, None, None), self._attend(None, None))

    def pooled(self, tokens: Tensor) -> Tensor:
        """A view's tokens (N, T, D) -> its embedding: their mean, or all of them side by side, T being what it is."""
        if not self.pool and tokens.shape[1] != self.count:
            raise InputError(
                f"a view of {tokens.shape[1]} patches cannot be embedded as {self.count} side by side: pool tokens "
                f"(--pool true), or have all views of one size (--small_views 0)."
            )
        return tokens.mean(dim=1) if self.pool else tokens.flatten(1)

    def forward(self, view: Tensor) -> Tensor:
        """`view` (N, ...) -> its embedding, (N, D) or (N, T * D)."""
        return self.pooled(self.tokens(view))

    def _embedded(self, view: Tensor, keep: Tensor | None, mask: Tensor | None, mask_token: Tensor | None) -> Tensor:
        positions, patches = self._place(view), self.patchify(view)  # (T, D), (N, T, P)
        if keep is not None:
            patches, positions = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2])), positions[keep]
        embedded = self.embed(patches[..., 0] if self.vocabulary else patches)
        if mask is not None and mask_token is not None:
            embedded = torch.where(mask[..., None], mask_token.to(embedded), embedded)
        placed: Tensor = embedded + positions
        return placed

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
        return self.positions if grid == self.grid else sincos(grid, self.width).to(self.positions)
