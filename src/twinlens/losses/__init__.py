"""Pure functions: tensors in, a scalar out; no parameters, no process groups, no logging."""

from twinlens.losses.contrastive import nt_xent

__all__ = ["nt_xent"]
