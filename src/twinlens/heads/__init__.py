"""Features -> embeddings, predictions, reconstructions."""
