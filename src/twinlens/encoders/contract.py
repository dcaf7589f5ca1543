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

    `shape` is that of one view, such as (C, H, W). `grid` says where its tokens lie, T in all: (T,), (rows, columns) or
    (frames, rows, columns). `patch_dim` is P, the numbers under a token; `vocabulary` says of how many words they are
    ids, and is None where they are measured. `width` is that of a token, D' below. Where `causal` holds, a token sees
    itself and those before it alone.
    """

    dim: int
    width: int
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    patch_dim: int
    vocabulary: int | None
    causal: bool

    def __call__(self, view: Tensor) -> Tensor:
        """(N, *shape) -> (N, D)."""

    def tokens(
        self, view: Tensor, keep: Tensor | None = None, *, among: Tensor | None = None, mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """(N, *shape) -> (N, T, D'); with `keep` (N, K), only those tokens are computed: (N, K, D').

        Where `among` (N, K) bool does not hold, a token only fills a row up: no other sees it. Where `mask` (N, K) bool
        holds, `mask_token` (D') takes the place of what is seen; the position stays. Without `keep`, K is T.
        """

    def layers(self, view: Tensor) -> Tensor:
        """(N, *shape) -> (L, N, T, D'): the tokens after each of L blocks."""

    def pooled(self, tokens: Tensor, view: Tensor | None = None) -> Tensor:
        """All tokens (N, T, D') of a view -> its embedding (N, D), as a call gives it.

        A `view` (N, T) of words says which of them are there: negative ones fill a row up.
        """

    def patchify(self, view: Tensor) -> Tensor:
        """(N, *shape) -> (N, T, P), what lies under each token."""

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, P) -> (N, *shape), the inverse of `patchify`."""


@runtime_checkable
class CausalEncoder(TokenEncoder, Protocol):
    """A `TokenEncoder` whose `causal` holds, for methods that predict what comes next from what came before."""


@runtime_checkable
class WordEncoder(TokenEncoder, Protocol):
    """A `TokenEncoder` whose `vocabulary` is not None, for methods that take words away and spell them."""


@runtime_checkable
class PairEncoder(Protocol):
    """An encoder of two kinds of views, with a tower for each and a projection into the space they share."""

    dim: int
    image: nn.Module
    text: nn.Module

    def __call__(self, view: Tensor) -> Tensor:
        """(N, ...) of either kind -> (N, D)."""


def shape_of(encoder: nn.Module) -> tuple[int, ...]:
    """The shape of one view, without the sample's axis; InputError if an encoder does not say."""
    shape = getattr(encoder, "shape", None)
    if not isinstance(shape, tuple):
        raise InputError(
            f"{type(encoder).__name__} has shape = {shape!r}: to draw its views, a method needs a tuple shape, "
            f"(C, H, W) of one."
        )
    return shape


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
