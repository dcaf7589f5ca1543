"""Samples -> views, batched on the device: one `Maker` for each modality, and the parts they share."""
