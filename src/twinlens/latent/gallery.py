"""Codes of real samples, to say of any point of the latent space what lies nearest to it, or what it decodes to."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from twinlens.errors import InputError
from twinlens.nearest import top_k

Codes = Tensor | NDArray[Any]
Decoder = Callable[[Tensor], Tensor]  # (N, D) -> (N, ...)


def as_gallery(gallery: Codes) -> Tensor:
    """The codes of real samples (M, D) as a float32 tensor. Raises InputError where they are anything else."""
    codes = torch.as_tensor(gallery).detach().float()
    if codes.ndim != 2 or not len(codes) or not codes.shape[1]:
        raise InputError(f"the gallery is of shape {tuple(codes.shape)}: expected (M, D), a code for each real sample.")
    if bad := int((~codes.isfinite()).any(dim=1).sum()):
        raise InputError(f"{bad} of {len(codes)} codes of the gallery are not finite: the encoder has diverged.")
    return codes


def as_code(name: str, code: Codes, gallery: Tensor) -> Tensor:
    """One code (D,) float32 beside the gallery (M, D). Raises InputError where it is anything else."""
    one = torch.as_tensor(code).detach().to(gallery)
    if one.shape != gallery.shape[1:]:
        raise InputError(
            f"{name} is of shape {tuple(one.shape)}: expected one code of ({gallery.shape[1]},), as the gallery has."
        )
    if not one.isfinite().all():
        raise InputError(f"{name} is not finite: take a code of an encoder that has not diverged.")
    return one


def nearest(codes: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """The real sample nearest to each code by cosine: (..., D) and (M, D) -> index (...) int64, similarity (...).

    Of equal ones the lower index; a code of zero has no direction, and a similarity of 0 to all.
    """
    similarity, index = top_k(normalize(codes.flatten(0, -2)), normalize(gallery), 1)
    return index.view(codes.shape[:-1]), similarity.view(codes.shape[:-1])


def decoded(codes: Tensor, decode: Decoder | None) -> Tensor | None:
    """What a decoder makes of each code, without gradient: (..., D) -> (..., *), or None without one."""
    if decode is None:
        return None
    with torch.no_grad():
        made: Tensor = decode(codes.flatten(0, -2)).unflatten(0, codes.shape[:-1])
    return made
