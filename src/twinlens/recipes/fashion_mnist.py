"""Fashion-MNIST (Xiao et al. 2017, 28 x 28 grey) on two processor cores, in two to seven minutes a run.

Settings were chosen by the few-label probes on 10,000 of the 60,000 training pictures, after training on the others.
"""

from twinlens.run import Run
from twinlens.train import Training

VIEWS = {"min_scale": 0.3, "blur": 0.0}


def simclr() -> Run:
    """Negatives."""
    return Run("fashion-mnist", "simclr", "small", {**VIEWS, "hidden": 512, "temperature": 0.2}, Training(epochs=6))


def byol() -> Run:
    """A slow copy: after six epochs its few-label probes were still behind the others'."""
    settings = {**VIEWS, "hidden": 512, "dim": 128, "momentum": 0.99, "solarize": 0.0}
    return Run("fashion-mnist", "byol", "small", settings, Training(epochs=12, rate=2e-3))


def vicreg() -> Run:
    """Batch statistics."""
    return Run("fashion-mnist", "vicreg", "small", {**VIEWS, "hidden": 512}, Training(epochs=6))


def mae() -> Run:
    """Masked patches: sixteen of 7 x 7 pixels, whose tokens are kept side by side."""
    encoder = {"patch": 7, "width": 64, "depth": 3, "heads": 4, "pool": False}
    decoder = {"normalise": False, "decoder_width": 64, "decoder_depth": 1, "decoder_heads": 4}
    return Run("fashion-mnist", "mae", "vit", {**encoder, **decoder}, Training(epochs=12, rate=2e-3))
