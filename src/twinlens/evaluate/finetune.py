"""Fine-tuning: all of an encoder, or its last layers, trained further on labels, and the same from its first weights.

AdamW with weights that move less the nearer they are to the input, as in He et al. 2022, "Masked autoencoders are
scalable vision learners", appendix A.1, table 9 (layer-wise decay: Clark et al. 2020, "ELECTRA", appendix B; Bao et al.
2022, "BEiT"), and partial fine-tuning (He et al. 2022, section 4.3). What table 9 has besides is left out: random
augmentation, mixing of samples, smoothing of labels, dropping of paths.
"""

import math
from copy import deepcopy
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens import distributed, random
from twinlens.batch import Maker, Raw, Samples, Views
from twinlens.embed import embed
from twinlens.encoders.contract import dim_of
from twinlens.errors import InputError
from twinlens.evaluate.layers import layers
from twinlens.evaluate.probe import places
from twinlens.evaluate.result import Result, scored
from twinlens.feed import Feed
from twinlens.update.optimizers import Rate, optimizer, with_rate
from twinlens.update.schedules import warmup_cosine


@dataclass(frozen=True)
class FineTuning:
    """How the weights are moved. Nothing here is chosen by a run: what is set is done, and the last weights are judged.

    Args:
        epochs: Passes over the labels; 50 (He et al. 2022, table 9, for their large model; 100 for the base one).
        batch: Samples in a step, where an epoch ends without an incomplete one; 64, a guess, for small data.
        rate: Peak learning rate, of the classes' layer; 1e-3 (table 9, for 256 samples in a step).
        decay: Weight decay of matrices; biases and norms are not decayed; 0.05 (table 9).
        warmup: Share of the run over which the rate rises from 0; a cosine takes it back to 0; 0.05 (table 9: 5 of 100).
        layer_decay: What the rate of a layer is of that of the next one; 0.75 (table 9: 0.75), 1 for one rate.
        frozen: How many of the encoder's first layers (see `layers`) keep their weights and their norms' statistics.
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
            ("decay", 0 <= self.decay < math.inf, "0 or more"),
            ("warmup", 0 <= self.warmup < 1, "a share of the run, 0 or more and below 1"),
            ("layer_decay", 0 < self.layer_decay <= 1, "a factor above 0, up to 1; 1 gives all layers one rate"),
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
    """Accuracy on clean views of `test` of a copy of the encoder and a linear layer of classes, trained on `train`.

    Training sees one weak view of each sample in each epoch, and of each class `shots` labels, the first draw of
    `few_label`, or all. The test part plays no role before the last step is done.

    Raises:
        InputError: where a part has no labels or training one class, a class has fewer than `shots` labels, a batch is
            larger than what there is to learn from, more layers shall be frozen than there are, training diverges, or
            several processes work together.
    """
    name = "fine-tuned" if shots is None else f"fine-tuned, {shots} per class"
    return _judge(name, encoder, (train, test), maker, how, shots=shots, device=device, seed=seed)


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
    """What labels alone make of an encoder: `finetune` of its initial weights, which the caller gives, on one budget.

    All layers learn, and at one rate: there is nothing in them to keep.
    """
    how = replace(how, layer_decay=1.0, frozen=0)
    return _judge("supervised", encoder, (train, test), maker, how, shots=shots, device=device, seed=seed)


def _judge(
    name: str,
    encoder: nn.Module,
    parts: tuple[Samples, Samples],
    maker: Maker,
    how: FineTuning,
    *,
    shots: int | None,
    device: torch.device,
    seed: int,
) -> Result:
    train, test = parts
    known, labels = _labels("training", train).unique(return_inverse=True)
    judged, count = _labels("test", test), len(layers(encoder))
    chosen = _chosen(train, known, labels, shots, seed)
    if how.batch > len(chosen):
        raise InputError(
            f"batch = {how.batch}: expected 1 to {len(chosen)}, as many labels as there are to learn from; choose a "
            "smaller batch."
        )
    if how.frozen > count:
        raise InputError(f"frozen = {how.frozen}: expected 0 to {count}, as many layers as the encoder has.")
    if distributed.world() > 1:
        raise InputError(
            f"{distributed.world()} processes work together: fine-tuning takes one; call it where a script was not "
            "started by torchrun."
        )
    model = tune(encoder, chosen, maker, how, classes=len(known), device=device, seed=seed)
    logits = embed(model, test, maker, device=device)  # (M, K)
    if not logits.isfinite().all():
        raise InputError(f"{name}: training diverged at rate = {how.rate}; choose a lower one.")
    settings = asdict(how) | {
        "layers": count,
        "shots": shots,
        "labels": len(chosen),
        "chosen on": "nothing: settings are fixed, the last weights are judged",
        "seed": seed,
    }
    return scored(name, known[logits.argmax(1)] == judged, settings)


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
    nn.init.zeros_(head.weight)  # no class is preferred, nothing is drawn; He et al. 2022 draw it with deviation 2e-5
    nn.init.zeros_(head.bias)
    model = nn.Sequential(deepcopy(encoder), head).to(device).train()
    rates = rates_of(model[0], how)
    for module in (module for layer in layers(model[0])[: how.frozen] for module in layer.modules):
        module.eval()
    parts = [with_rate(nn.ParameterList(some), Rate(factor)) for some, factor in (*rates, (head.parameters(), 1.0))]
    moved = optimizer("adamw", nn.ModuleList(parts), rate=how.rate, decay=how.decay)
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
