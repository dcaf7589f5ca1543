"""The vision transformer (Dosovitskiy et al. 2021) in the form that masked image modelling uses (He et al. 2022)."""

from torch import Tensor

from twinlens.encoders.tokens import Tokens
from twinlens.errors import InputError


class Patches:
    """Pictures (N, C, H, W) cut into squares of `patch` pixels."""

    vocabulary: int | None = None

    def __init__(self, channels: int, size: int, patch: int) -> None:
        self.patch, self.patch_dim = patch, channels * patch**2
        self.shape: tuple[int, ...] = (channels, size, size)
        self.grid: tuple[int, ...] = (size // patch, size // patch)

    def grid_of(self, view: Tensor) -> tuple[int, ...]:
        """Rows and columns of the patches of a view; InputError where they are not whole."""
        h, w = view.shape[2:]
        if h % self.patch or w % self.patch:
            raise InputError(
                f"a patch of {self.patch} pixels does not divide a view of {h} x {w}: choose --patch, --size or "
                f"--small_size so that it does."
            )
        return h // self.patch, w // self.patch

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
    causal: bool = False,
) -> Tokens:
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
        causal: Let a patch see those before it alone, row by row, as methods that predict the next one need.
    """
    patch = _patch(size) if patch is None else patch
    if patch < 1 or size % patch:
        raise InputError(f"a patch of {patch} pixels does not divide a view of {size}: choose a divisor of {size}.")
    return Tokens(Patches(channels, size, patch), width=width, depth=depth, heads=heads, pool=pool, causal=causal)
