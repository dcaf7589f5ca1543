"""CIFAR-10 (Krizhevsky 2009) with ResNet-18 on one GPU: 200 epochs in batches of 512, as in lightly's benchmark.

Optimizer, rate and decay are that benchmark's (SGD, 0.06 for 128 samples, 5e-4), heads and temperatures its methods';
blur is left out, as by SimCLR for pictures this small (appendix B.9). Not tuned here.
"""

from dataclasses import replace
from typing import Any

from twinlens.run import Run
from twinlens.train import Training

VIEWS = {"blur": 0.0}
ASYMMETRIC = {**VIEWS, "solarize": 0.0}
TRAINING = Training(epochs=200, batch=512, optimizer="sgd", rate=0.24, decay=5e-4)


def _run(method: str, settings: dict[str, Any], **training: Any) -> Run:
    return Run("cifar10", method, "resnet18", settings, replace(TRAINING, **training))


def simclr() -> Run:
    """Negatives."""
    return _run("simclr", {**VIEWS, "hidden": 512, "temperature": 0.5})


def byol() -> Run:
    """A slow copy."""
    return _run("byol", {**ASYMMETRIC, "hidden": 1024, "dim": 256, "momentum": 0.99})


def mocov2() -> Run:
    """A queue of earlier keys."""
    return _run("mocov2", {**VIEWS, "hidden": 512, "queue": 4096, "momentum": 0.99, "temperature": 0.1})


def swav() -> Run:
    """Clusters, assigned evenly over the batch."""
    heads = {"hidden": 512, "dim": 128, "prototypes": 512}
    return _run("swav", {**VIEWS, **heads, "small_scale": (0.1, 0.4)}, optimizer="adamw", rate=1e-3, decay=1e-6)


def barlowtwins() -> Run:
    """Redundancy between dimensions."""
    return _run("barlowtwins", {**ASYMMETRIC, "hidden": 2048})


def lejepa() -> Run:
    """Embeddings held to a Gaussian."""
    return _run("lejepa", {**VIEWS, "small_scale": (0.1, 0.4)}, optimizer="adamw", rate=1e-3, decay=0.05)


def vicreg() -> Run:
    """Batch statistics."""
    return _run("vicreg", {**ASYMMETRIC, "hidden": 2048})
