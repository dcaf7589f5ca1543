"""Is it learning? Numbers that need no labels, and a verdict."""

from twinlens.monitor.geometry import alignment, anisotropy, cka, lidar, perplexity, uniformity
from twinlens.monitor.spectrum import alpha_req, dead, rankme, spectrum, spread

__all__ = [
    "alignment", "alpha_req", "anisotropy", "cka", "dead", "lidar", "perplexity", "rankme", "spectrum", "spread",
    "uniformity",
]  # fmt: skip
