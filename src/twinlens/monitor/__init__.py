"""Is it learning? Numbers that need no labels."""

from twinlens.monitor.spectrum import rankme, spectrum, spread

__all__ = ["rankme", "spectrum", "spread"]
