"""Is it learning? Numbers that need no labels, and a verdict."""

from twinlens.monitor.geometry import alignment, cka, lidar, perplexity, uniformity
from twinlens.monitor.spectrum import alpha_req, dead, rankme, spectrum, spread

__all__ = [
    "alignment", "alpha_req", "cka", "dead", "lidar", "perplexity", "rankme", "spectrum", "spread", "uniformity",
]  # fmt: skip
