"""What every loss accepts: matching rows of floating-point embeddings, an id for each row, positive temperatures."""

import math

import torch
from torch import Tensor

from twinlens.errors import InputError


def embeddings(rows: int = 2, **given: Tensor) -> tuple[Tensor, ...]:
    """The tensors (N, D) at float32 or above; InputError names one that has another shape or under `rows` rows."""
    wide = [floating(name, z) for name, z in given.items()]
    first = next(iter(given))
    for name, z in given.items():
        if z.ndim != 2 or len(z) < rows:
            raise InputError(f"{name} has shape {tuple(z.shape)}: expected (N, D) with {rows} rows or more.")
        if z.shape != given[first].shape:
            raise InputError(
                f"{name} has shape {tuple(z.shape)} and {first} {tuple(given[first].shape)}: give both the same rows "
                f"and width."
            )
    return tuple(z.to(max((one.dtype for one in wide), key=lambda dtype: dtype.itemsize)) for z in wide)


def floating(name: str, z: Tensor) -> Tensor:
    """`z` with float16 and bfloat16 widened to float32; InputError for integers."""
    if not z.is_floating_point():
        raise InputError(f"{name} is of {z.dtype}: expected floating-point embeddings; convert it with .float().")
    return z if z.dtype == torch.float64 else z.float()


def ids(name: str, given: Tensor | None, z: Tensor) -> Tensor:
    """Integers (N,), one for each row of `z`, on its device; 0 ... N - 1, each its own, where none are given."""
    if given is None:
        return torch.arange(len(z), device=z.device)
    if given.shape != z.shape[:1] or given.is_floating_point():
        raise InputError(
            f"{name} has shape {tuple(given.shape)} and dtype {given.dtype}: expected one integer for each of the "
            f"{len(z)} rows."
        )
    return given.to(z.device)


def temperature(given: float | Tensor) -> float | Tensor:
    """A number or a scalar tensor above 0."""
    if isinstance(given, Tensor) and given.numel() != 1:
        raise InputError(f"temperature has shape {tuple(given.shape)}: expected a single number.")
    return positive("temperature", given)


def positive(name: str, given: float | Tensor) -> float | Tensor:
    """`given`, if it is above 0 and finite."""
    value = number(given)
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"{name} is {value}: expected a number above 0.")
    return given.reshape(()) if isinstance(given, Tensor) else given


def number(given: float | Tensor) -> float:
    """The value of a number or of a scalar tensor."""
    return float(given.detach() if isinstance(given, Tensor) else given)


def unit(z: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays zero, with gradient 0, since it has no direction."""
    # Not F.normalize's clamp, whose gradient at zero is 1 / eps: it would throw a dead sample out to infinity.
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    result: Tensor = z / length.where(length > 0, torch.inf)
    return result
