"""Traversals: a code with one direction of the latent space moved, all else held."""

from dataclasses import dataclass

import torch
from torch import Tensor

from twinlens.errors import InputError
from twinlens.latent.gallery import Codes, Decoder, as_code, as_gallery, decoded, nearest


@dataclass(frozen=True, eq=False)
class Traversal:
    """D' directions, S steps each: codes (D', S, D), the nearest real sample's index (D', S) and cosine (D', S).

    `offsets` (S,) are the steps in standard deviations, `directions` (D', D) one standard deviation along each, and
    `decoded` (D', S, ...) what the codes decode to.
    """

    codes: Tensor
    offsets: Tensor
    directions: Tensor
    index: Tensor
    similarity: Tensor
    decoded: Tensor | None


def traverse(
    code: Codes,
    gallery: Codes,
    *,
    steps: int = 7,
    reach: float = 2.0,
    principal: bool = False,
    count: int | None = None,
    decode: Decoder | None = None,
) -> Traversal:
    """A code (D,) moved along each dimension, from -reach to +reach standard deviations of `gallery` (M, D) around it.

    With `principal` the directions are those in which the gallery varies most, in falling order, each of the sign that
    makes its largest entry positive: an encoder trained to be indifferent to rotations of its code has no dimension
    that means anything by itself. `count` takes the first of them (None: all D). With an odd number of steps the middle
    one is the code itself. `decode` takes codes (N, D).

    Raises:
        InputError: where shapes do not fit, a code is not finite, or a number is out of its range.
    """
    bank = as_gallery(gallery)
    start, dimensions = as_code("the code", code, bank), bank.shape[1]
    count = dimensions if count is None else count
    if steps < 2 or not 0 < reach < float("inf"):
        raise InputError(f"steps = {steps}, reach = {reach:g}: expected 2 steps or more over a reach above 0.")
    if not 1 <= count <= dimensions:
        raise InputError(f"count = {count}: expected 1 to {dimensions}, as many directions as the code has dimensions.")
    if len(bank) < 2:
        raise InputError("the gallery has 1 code: expected 2 or more, as steps are in its standard deviations.")
    directions = (_components(bank) if principal else torch.diag(bank.double().std(dim=0)))[:count]  # (D', D)
    offsets = torch.linspace(-reach, reach, steps, dtype=torch.float64, device=bank.device)
    offsets = (offsets - offsets.flip(0)) / 2  # exactly symmetric, hence exactly 0 in the middle
    codes = (start.double() + offsets[:, None] * directions[:, None]).float()  # (D', S, D)
    index, similarity = nearest(codes, bank)
    return Traversal(codes, offsets.float(), directions.float(), index, similarity, decoded(codes, decode))


def _components(bank: Tensor) -> Tensor:
    """One standard deviation along each principal direction, in falling order: (M, D) -> (D, D)."""
    variance, vectors = torch.linalg.eigh(bank.double().T.cov())  # ascending, (D,) and columns of (D, D)
    vectors = vectors.flip(1).T
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    components: Tensor = vectors * largest.sign() * variance.flip(0).clamp_min(0).sqrt()[:, None]
    return components
