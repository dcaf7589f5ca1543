"""Fine-tuning: all of an encoder, or its last layers, trained on labels; and the same from its initial weights.

AdamW with weights that move less the nearer they are to the input, as in He et al. 2022, "Masked autoencoders are
scalable vision learners", appendix A.1, table 9 (layer-wise decay: Clark et al. 2020, "ELECTRA", appendix B; Bao et al.
2022, "BEiT"), and partial fine-tuning (He et al. 2022, section 4.3). What table 9 has besides is left out: random
augmentation, mixing of samples, smoothing of labels, dropping of paths.
"""

import math
from copy import deepcopy
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens import distributed, random
from twinlens.batch import Maker, Samples, Views
from twinlens.embed import embed
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.evaluate.layers import Layer, layers
from twinlens.evaluate.probe import places
from twinlens.evaluate.result import Result, scored
from twinlens.feed import Feed
from twinlens.rate import Rate, with_rate
from twinlens.update.optimizers import optimizer
from twinlens.update.schedules import warmup_cosine


@dataclass(frozen=True)
class FineTuning:
    """How the weights are moved. Nothing of it is chosen by a run: what is set is done, the last weights are judged.

    Args:
        epochs: Passes over the labels, each without its incomplete last batch; 50 (table 9, for the larger models).
        batch: Samples in a step; 64, a guess, for small data (table 9: 1024).
        rate: Peak learning rate, that of the layer of classes; 1e-3 (table 9, for each 256 samples in a step). With the
            default batch, 3e-4, 1e-3 and 3e-3 gave 97.2, 98.3 and 98.3 % on digits, 15 epochs from scratch, one seed.
        decay: Weight decay of matrices; biases and norms are not decayed; 0.05 (table 9).
        warmup: Share of the run over which the rate rises from 0; a cosine takes it back to 0; 0.05 (table 9: 5 epochs
            of 100).
        layer_decay: A layer's rate as a share of that of the next one; 0.75 (table 9). 1 gives all of them one rate.
        frozen: How many of the encoder's first layers (`layers`) keep their weights and their norms' statistics.
    """

    epochs: int = 50
    batch: int = 64
    rate: float = 1e-3
    decay: float = 0.05
    warmup: float = 0.05
    layer_decay: float = 0.75
    frozen: int = 0

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch", self.batch >= 1, "1 or more"),
            ("rate", 0 < self.rate < math.inf, "a number above 0"),
            ("decay", 0 <= self.decay < math.inf, "a number of 0 or more"),
            ("warmup", 0 <= self.warmup < 1, "a share of the run, 0 or more and below 1"),
            ("layer_decay", 0 < self.layer_decay <= 1, "a share above 0, up to 1, which gives all layers one rate"),
            ("frozen", self.frozen >= 0, "a number of layers, 0 to freeze none"),
        ):
            if not good:
                raise InputError(f"{name} = {getattr(self, name)}: expected {expected}.")


STANDARD = FineTuning()


def finetune(
    encoder: nn.Module,
    train: Samples,
    test: Samples,
    maker: Maker,
    *,
    device: torch.device,
    how: FineTuning = STANDARD,
    shots: int | None = None,
    seed: int = 0,
) -> Result:
    """Accuracy on clean views of `test` of a copy of the encoder and a layer of classes, trained on weak views.

    Of each class all labels are learnt from, or `shots`, those of the first draw of `few_label`. Test labels are looked
    at when training is over.

    Raises:
        InputError: where a part has no labels or training one class, a class has fewer than `shots` labels, a batch is
            larger than what there is to learn from, more layers shall be frozen than there are, training diverges, or
            several processes work together.
    """
    known, labels = _labels("training", train).unique(return_inverse=True)
    judged, count = _labels("test", test), len(layers(encoder))
    if len(known) < 2:
        raise InputError(
            f"all {len(labels)} training labels are {int(known[0])}: at least 2 classes are needed to tell apart."
        )
    rows = _draw(labels, shots, seed)
    chosen = train.subset(rows).labelled(labels[rows].numpy())
    if how.batch > len(chosen):
        raise InputError(
            f"batch = {how.batch}: expected 1 to {len(chosen)}, as many labels as there are to learn from; choose a "
            "smaller batch."
        )
    if how.frozen > count:
        raise InputError(f"frozen = {how.frozen}: expected 0 to {count}, as many layers as the encoder has.")
    if distributed.world() > 1:
        raise InputError(
            f"{distributed.world()} processes work together: fine-tuning takes one; call it from a script that is "
            "started without torchrun."
        )
    model = tune(encoder, chosen, maker, how, classes=len(known), device=device, seed=seed)
    logits = embed(model, test, maker, device=device)  # (M, K)
    if not logits.isfinite().all():
        raise InputError(f"rate = {how.rate}: training diverged, no number is left to judge; choose a lower rate.")
    name = "fine-tuned" if shots is None else f"fine-tuned, {shots} per class"
    nothing = "nothing: settings are fixed, the last weights are judged"
    settings = asdict(how) | {
        "layers": count,
        "shots": shots,
        "labels": len(chosen),
        "chosen on": nothing,
        "seed": seed,
    }
    return scored(name, known[logits.argmax(1)] == judged, settings)


def supervised(
    encoder: nn.Module,
    train: Samples,
    test: Samples,
    maker: Maker,
    *,
    device: torch.device,
    how: FineTuning = STANDARD,
    shots: int | None = None,
    seed: int = 0,
) -> Result:
    """What labels alone make of an encoder, given with its initial weights: `finetune`, on the same budget.

    All layers learn, at one rate: there is nothing in them to keep.
    """
    how = replace(how, layer_decay=1.0, frozen=0)
    result = finetune(encoder, train, test, maker, device=device, how=how, shots=shots, seed=seed)
    return replace(result, name="supervised")


def tune(
    encoder: nn.Module,
    samples: Samples,
    maker: Maker,
    how: FineTuning,
    *,
    classes: int,
    device: torch.device,
    seed: int,
) -> nn.Sequential:
    """A copy of the encoder with a layer of classes behind it, trained on `samples`, labelled out of range(classes)."""
    head = nn.Linear(dim_of(encoder), classes)
    nn.init.zeros_(head.weight)  # prefers no class and draws nothing; He et al. 2022 draw it with a deviation of 2e-5
    nn.init.zeros_(head.bias)
    model = nn.Sequential(deepcopy(encoder), head).to(device).train()
    moved = _prepare(layers(model[0]), head, how)
    views = Views(large=1, strength="weak", labels=True)
    feed = Feed(samples, maker, views, batch=how.batch, micro_batches=1, seed=seed, device=device)
    total = how.epochs * feed.steps
    for step, (chunk,) in enumerate(feed.run(0, total)):
        for group in moved.param_groups:
            group["lr"] = how.rate * group["factor"] * warmup_cosine((step + 0.5) / total, warmup=how.warmup)
        torch.manual_seed(random.seed(seed, step, 0))  # for encoders that draw by themselves
        batch = chunk()
        assert batch.target is not None
        moved.zero_grad()
        F.cross_entropy(model(batch.views[0]), batch.target).backward()
        moved.step()
    return model


def factors(count: int, layer_decay: float) -> list[float]:
    """What the rates of `count` layers are of that of the layer of classes, which comes after the last of them."""
    return [layer_decay ** (count - i) for i in range(count)]


def _prepare(found: list[Layer], head: nn.Module, how: FineTuning) -> torch.optim.Optimizer:
    """Freezes the first layers, modes included, and gives the optimizer of all others, each with a rate of its own."""
    for i, layer in enumerate(found):
        for parameter in layer.parameters:
            parameter.requires_grad_(i >= how.frozen)
        for module in layer.modules if i < how.frozen else ():
            module.eval()
    rated = zip((layer.parameters for layer in found), factors(len(found), how.layer_decay))
    every = [with_rate(nn.ParameterList(some), Rate(factor)) for some, factor in rated]
    return optimizer("adamw", nn.ModuleList([*every, head]), rate=how.rate, decay=how.decay)


def _labels(kind: str, samples: Samples) -> Tensor:
    if samples.labels is None or len(samples) == 0:
        lack = "labels" if len(samples) else "samples"
        raise InputError(
            f"the {kind} part of {samples.name} has no {lack}: expected labelled samples; use a folder with one "
            "subfolder for each class, an .npz with labels, or a known dataset."
        )
    return torch.from_numpy(samples.labels)


def _draw(y: Tensor, shots: int | None, seed: int) -> Tensor:
    """Indices of all samples, or of `shots` of each class: (N,) -> (n,)."""
    if shots is None:
        return torch.arange(len(y))
    least = int(y.bincount().min())
    if not 1 <= shots <= least:
        raise InputError(f"shots = {shots}: expected 1 to {least}, as many labels as the smallest class has.")
    return (places(y, seed, 0) < shots).nonzero().squeeze(1)
