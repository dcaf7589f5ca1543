"""The vision transformer (Dosovitskiy et al. 2021) in the form that masked image modelling uses (He et al. 2022)."""

import torch
from torch import Tensor, nn

from twinlens.encoders.transformer import Transformer, linear, sincos
from twinlens.errors import InputError


class ViT(nn.Module):
    """Patches, fixed positions, a Transformer, and the mean over tokens, or all of them: no class token.

    The mean serves as well as a class token (Dosovitskiy et al. 2021, appendix D.3; He et al. 2022, appendix A.1). A
    view may have another size than `size` (multi-crop); its positions are then those of its own grid.
    """

    positions: Tensor

    def __init__(self, channels: int, size: int, patch: int, *, width: int, depth: int, heads: int, pool: bool) -> None:
        super().__init__()
        self.pool = pool
        self.patch, self.patch_dim = patch, channels * patch**2
        self.grid = (size // patch, size // patch)
        self.count, self.width = (size // patch) ** 2, width
        self.dim = width if pool else self.count * width
        self.embed = linear(self.patch_dim, width)
        self.body = Transformer(width, depth, heads)
        self.register_buffer("positions", sincos(*self.grid, width), persistent=False)  # (T, D)

    def patchify(self, view: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, T, P): patches row by row, and in each its rows, its columns, its channels."""
        n, c, h, w = view.shape
        p = self.patch
        parts = view.reshape(n, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1)  # (N, H/p, W/p, p, p, C)
        return parts.reshape(n, (h // p) * (w // p), p * p * c)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, P) -> (N, C, H, W), the inverse of `patchify` for views of the encoder's own size."""
        n, p, (h, w) = len(patches), self.patch, self.grid
        parts = patches.reshape(n, h, w, p, p, -1).permute(0, 5, 1, 3, 2, 4)  # (N, C, H/p, p, W/p, p)
        return parts.reshape(n, -1, h * p, w * p)

    def tokens(
        self, view: Tensor, keep: Tensor | None = None, *, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) -> (N, T, D), or (N, K, D) of the tokens `keep` (N, K) int64 alone: nothing else is computed.

        Where `mask` (N, T) bool holds, `mask_token` (D) takes the place of the embedded patch; the position stays.
        """
        patches, positions = self.patchify(view), self._place(view)  # (N, T, P), (T, D)
        if keep is not None:
            patches, positions = patches.gather(1, keep[..., None].expand(-1, -1, self.patch_dim)), positions[keep]
        embedded = self.embed(patches)
        if mask is not None and mask_token is not None:
            embedded = torch.where(mask[..., None], mask_token.to(embedded), embedded)
        out: Tensor = self.body(embedded + positions)
        return out

    def pooled(self, tokens: Tensor) -> Tensor:
        """A view's tokens (N, T, D) -> its embedding: their mean, or all of them side by side, T being what it is."""
        if not self.pool and tokens.shape[1] != self.count:
            raise InputError(
                f"a view of {tokens.shape[1]} patches cannot be embedded as {self.count} side by side: pool tokens "
                f"(--pool true), or have all views of one size (--small_views 0)."
            )
        return tokens.mean(dim=1) if self.pool else tokens.flatten(1)

    def forward(self, view: Tensor) -> Tensor:
        """`view` (N, C, H, W) -> its embedding, (N, D) or (N, T * D)."""
        return self.pooled(self.tokens(view))

    def _place(self, view: Tensor) -> Tensor:
        grid = (view.shape[2] // self.patch, view.shape[3] // self.patch)
        return self.positions if grid == self.grid else sincos(*grid, self.width).to(self.positions)


def _patch(size: int) -> int:
    """The largest divisor of `size` up to 16 that leaves 7 x 7 patches or more; 2 if that is 1 and `size` is even."""
    patch = max((p for p in range(1, 17) if size % p == 0 and size >= 7 * p), default=1)
    return 2 if patch == 1 and size % 2 == 0 else patch


def vit(
    channels: int,
    size: int,
    *,
    patch: int | None = None,
    width: int = 192,
    depth: int = 12,
    heads: int = 3,
    pool: bool = True,
) -> ViT:
    """A vision transformer; by default the tiny one (Touvron et al. 2021, "DeiT", table 1), D = `width`.

    Args:
        channels: Channels of a view.
        size: Height and width of a view, in pixels.
        patch: Side of a patch in pixels, a divisor of `size`. By default the largest up to 16 (Dosovitskiy et al. 2021,
            section 4.1) that leaves 7 x 7 patches or more: 16 for 224 pixels, 4 for 28 and 32. The bound 7 is a guess.
        width: Features of a token, a multiple of 4 and of `heads` (Touvron et al. 2021, table 1).
        depth: Number of blocks (Touvron et al. 2021, table 1).
        heads: Attention heads of a block (Touvron et al. 2021, table 1).
        pool: Embed a view as the mean of its tokens; if not, as all of them side by side, D = T * `width`, which keeps
            where things are: for small pictures that are aligned.
    """
    patch = _patch(size) if patch is None else patch
    if patch < 1 or size % patch:
        raise InputError(f"a patch of {patch} pixels does not divide a view of {size}: choose a divisor of {size}.")
    return ViT(channels, size, patch, width=width, depth=depth, heads=heads, pool=pool)
