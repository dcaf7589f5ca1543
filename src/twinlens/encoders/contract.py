"""What methods ask of encoders.

The plain case needs no class: any module (N, ...) -> (N, D) with an int attribute `dim`, its D.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from twinlens.errors import InputError


@runtime_checkable
class TokenEncoder(Protocol):
    """An encoder that also gives parts of a sample. A method asks for one by annotating its argument with this class.

    `grid` holds the rows and columns of tokens, T in all; `patch_dim` is P, the numbers in the patch under a token;
    `width` is that of a token, D' below.
    """

    dim: int
    width: int
    grid: tuple[int, int]
    patch_dim: int

    def __call__(self, view: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""

    def tokens(
        self, view: Tensor, keep: Tensor | None = None, *, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) -> (N, T, D'); with `keep` (N, K), only those tokens are computed: (N, K, D').

        Where `mask` (N, T) bool holds, `mask_token` (D') takes the place of what is seen; the position stays.
        """

    def pooled(self, tokens: Tensor) -> Tensor:
        """All tokens (N, T, D') of a view -> its embedding (N, D), as a call gives it."""

    def patchify(self, view: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, T, P), the pixels under each token."""


def dim_of(encoder: nn.Module) -> int:
    """The width D of what an encoder gives; InputError if it does not say."""
    dim = getattr(encoder, "dim", None)
    if not isinstance(dim, int):
        raise InputError(
            f"{type(encoder).__name__} has dim = {dim!r}: an encoder needs an int attribute dim, the width D of (N, D)."
        )
    return dim


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every part is in the mode it came in."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
