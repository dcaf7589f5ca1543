"""Embeddings -> neighbours."""

from twinlens.search.index import Hit, Index
from twinlens.search.mining import mine
from twinlens.search.negatives import with_negatives

__all__ = ["Hit", "Index", "mine", "with_negatives"]
