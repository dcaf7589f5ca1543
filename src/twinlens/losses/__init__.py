"""Pure functions: tensors in, a scalar out; no parameters, no process groups, no logging."""

from twinlens.losses.contrastive import clip, decoupled, info_nce, nt_xent, reweighted
from twinlens.losses.geometry import alignment, koleo, negative_cosine, uniformity
from twinlens.losses.metric import margin, triplet
from twinlens.losses.siglip import sigmoid
from twinlens.losses.supervised import supcon

__all__ = [
    "alignment",
    "clip",
    "decoupled",
    "info_nce",
    "koleo",
    "margin",
    "negative_cosine",
    "nt_xent",
    "reweighted",
    "sigmoid",
    "supcon",
    "triplet",
    "uniformity",
]
