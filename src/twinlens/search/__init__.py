"""Embeddings -> neighbours."""
