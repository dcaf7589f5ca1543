"""What the space of codes is like: what its dimensions stand for, what lies between codes, what their sums find."""

from twinlens.latent.arithmetic import analogy_accuracy, arithmetic
from twinlens.latent.dci import dci
from twinlens.latent.disentangle import Disentanglement, disentanglement
from twinlens.latent.factor_vae import factor_vae
from twinlens.latent.interpolate import Path, interpolate
from twinlens.latent.mig import mig
from twinlens.latent.sap import sap
from twinlens.latent.score import Score
from twinlens.latent.traverse import Traversal, traverse

__all__ = [
    "Disentanglement",
    "Path",
    "Score",
    "Traversal",
    "analogy_accuracy",
    "arithmetic",
    "dci",
    "disentanglement",
    "factor_vae",
    "interpolate",
    "mig",
    "sap",
    "traverse",
]
