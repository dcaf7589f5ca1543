"""Every method that predicts, reconstructs or generates, and every pretext task, on Fashion-MNIST.

Beside raw pixels and the untrained encoder stand nearest neighbours, a linear probe, few-label probes and fine-tuning
with 100 labels a class, since methods of this kind differ in which of them they are good for.

The runs are the recipes of twinlens.recipes.fashion_mnist, last checkpoints: over one small encoder, or over a small
transformer where a method needs tokens. It resumes where it stopped: rows that the result has are kept (delete the file
to make all anew), and a run that was not finished goes on.

    python benchmarks/predictive.py                                                   one seed each, three for six
    python benchmarks/predictive.py --methods vae --validation --set beta=4 epochs=2      to choose settings
"""

from typing import Any

from _quality import Table, main
from torch import nn

from twinlens.evaluate.result import Result
from twinlens.fit import pretrain
from twinlens.generation import reconstruction, two_sample
from twinlens.method import Decodes, Generates
from twinlens.recipes import find
from twinlens.run import Run, load

CLAIM = (
    "which of the methods that predict, reconstruct or generate, and which pretext tasks, stand above the untrained "
    "encoder and raw pixels, intervals apart, and by which use of labels; rows that do not stay in"
)
SIX = ("neighbours", "mlm", "rotation", "mae", "cpc", "vae")  # with three seeds, the best with one by the linear probe
OVER_TOKENS = ("mae", "simmim", "mlm", "gpt", "data2vec", "ijepa", "cpc", "neighbours")
OVER_PIXELS = ("autoencoder", "denoising", "inpainting", "vae", "bigan", "nextframe")
TASKS = ("rotation", "temporal_order", "jigsaw", "relative_position")
COLOURED = tuple(f"{task}@cifar10" for task in ("colorization", "jigsaw", "relative_position"))
EVERY = OVER_TOKENS + OVER_PIXELS + TASKS + COLOURED


def generative(run: Run, data: str) -> dict[str, Any]:
    """The reconstruction error of methods that decode, and KID of those that draw, on features of SimCLR's encoder."""
    row = {}
    if isinstance(run.model, Decodes):
        row["reconstruction error"] = plain(reconstruction(run, data))
    if isinstance(run.model, Generates):
        row["KID"] = plain(two_sample(run, data, features(run, data)))
    return row


def plain(amount: Result) -> dict[str, Any]:
    """An amount and its baselines, each with its interval."""
    row: dict[str, Any] = {"value": amount.value, "interval": amount.interval}
    return row | {name: {"value": one.value, "interval": one.interval} for name, one in amount.baselines.items()}


def features(run: Run, data: str) -> nn.Module:
    """An encoder that knows nothing of what it judges: SimCLR's, two epochs of the same data, kept beside runs."""
    path = run.folder.parent / "features-simclr"
    if (path / "encoder.safetensors").exists():
        return load(path).encoder
    return pretrain(data, "simclr", recipe=find("fashion_mnist", "simclr"), epochs=2, out=path).encoder


TABLE = Table(
    "predictive",
    CLAIM,
    {name: 3 if name in SIX else 1 for name in EVERY},
    smallest={"mae": {"patch": 2}, "gpt": {"patch": 2}, "vae": {}, "bigan": {}, "nextframe": {}, "jigsaw": {}}
    | {"colorization@cifar10": {"epochs": 0.05}},
    shots=100,
    more=generative,
)

if __name__ == "__main__":
    main(TABLE, __doc__)
