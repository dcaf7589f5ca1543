"""Clips as tokens: tubes of a few frames and a square of pixels (Arnab et al. 2021, "ViViT", arXiv 2103.15691)."""

from collections.abc import Sequence

from torch import Tensor

from twinlens.encoders.tokens import Tokens
from twinlens.errors import InputError


class Tubes:
    """Clips (N, F, C, H, W) cut into `frames` frames of squares of `patch` pixels."""

    vocabulary: int | None = None

    def __init__(self, shape: tuple[int, int, int, int], frames: int, patch: int) -> None:
        self.frames, self.patch, self.patch_dim = frames, patch, frames * shape[1] * patch**2
        self.shape: tuple[int, ...] = shape
        self.grid = self._tubes(shape)

    def grid_of(self, view: Tensor) -> tuple[int, ...]:
        """Moments, rows and columns of the tubes of a view; InputError where they are not whole."""
        return self._tubes(view.shape[1:])

    def patchify(self, view: Tensor) -> Tensor:
        """(N, F, C, H, W) -> (N, T, P): in each tube its frames, its rows, its columns, its channels."""
        p = self.patch
        parts = view.unflatten(1, (-1, self.frames)).unflatten(-2, (-1, p)).unflatten(-1, (-1, p))
        tubes: Tensor = parts.permute(0, 1, 4, 6, 2, 5, 7, 3)  # of (N, F/f, f, C, H/p, p, W/p, p)
        return tubes.flatten(4).flatten(1, 3)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, P) -> (N, F, C, H, W)."""
        p = self.patch
        parts = patches.unflatten(1, self.grid).unflatten(4, (self.frames, p, p, -1))
        view: Tensor = parts.permute(0, 1, 4, 7, 2, 5, 3, 6)  # (N, F/f, f, C, H/p, p, W/p, p)
        return view.flatten(6).flatten(4, 5).flatten(1, 2)

    def _tubes(self, shape: Sequence[int]) -> tuple[int, ...]:
        f, _, h, w = shape
        if min(self.frames, self.patch) < 1 or f % self.frames or h % self.patch or w % self.patch:
            raise InputError(
                f"tubes of {self.frames} frames and {self.patch} pixels do not divide a clip of {tuple(shape)}: choose "
                f"divisors."
            )
        return f // self.frames, h // self.patch, w // self.patch


def clip(
    shape: tuple[int, int, int, int], *, frames: int = 2, patch: int = 16, width: int = 192, depth: int = 12,
    heads: int = 3, pool: bool = True, causal: bool = False,
) -> Tokens:  # fmt: skip
    """A transformer over tubes of a clip, views (N, F, C, H, W); D = `width`.

    Args:
        shape: (F, C, H, W) of a view.
        frames: Frames under a token, a divisor of F; 2 (Tong et al. 2022, "VideoMAE", arXiv 2203.12602, section 3.3).
        patch: Side of the square under a token in pixels, a divisor of H and W (there too).
        width: Features of a token, a multiple of 2 and of `heads`, 6 or more; as in `vit`.
        depth: Number of blocks; as in `vit`.
        heads: Attention heads of a block; as in `vit`.
        pool: Embed a view as the mean of its tokens; if not, as all of them side by side.
        causal: Let a token see those before it alone, moment by moment.
    """
    return Tokens(Tubes(shape, frames, patch), width=width, depth=depth, heads=heads, pool=pool, causal=causal)
