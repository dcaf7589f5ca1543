"""Do the losses and their gradients agree with peers', on the same random input? And where definitions differ, how.

64 pairs of 32 features, temperature 0.1. Differences are relative: of the value, and of the norm of the gradient with
respect to both inputs. The peers need their own environment; those that cannot be imported are said to be absent.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from _peers import import_torchvision
from _record import arguments, write
from torch import Tensor
from torch.nn.functional import normalize

from twinlens import losses

CLAIM = (
    "NT-Xent, InfoNCE with a queue, CLIP, SigLIP, SupCon, DCL, triplets, alignment, uniformity and the negative cosine "
    "agree with lightly, open_clip or pytorch-metric-learning to 1e-5, value and gradient, where the definitions agree"
)
SEED, N, D, TEMPERATURE, BIAS, SIGMA, MARGIN, CLOSE = 0, 64, 32, 0.1, -10.0, 0.5, 0.2, 1e-5
TWO, EIGHT, UNEVEN = torch.arange(N).repeat(2), torch.arange(2 * N) // 8, torch.arange(2 * N) // 7  # rows a label
UNEVEN[0] = -1  # a row without a positive

Loss = Callable[[Tensor, Tensor], Tensor]


class Comparison(NamedTuple):
    """A loss of ours by name, a peer's, both as functions, and how the peer's definition differs ("": it does not)."""

    loss: str
    theirs: str
    our_form: Loss
    their_form: Loss
    difference: str = ""


def stacked(loss: Loss, labels: Tensor) -> Loss:
    """A loss of rows and labels, as one of two views."""
    return lambda z1, z2: loss(torch.cat((z1, z2)), labels)


def unit(loss: Loss) -> Loss:
    """The loss of unit rows, where one side normalises and the other does not."""
    return lambda z1, z2: loss(normalize(z1, dim=1), normalize(z2, dim=1))


def near(loss: Loss) -> Loss:
    """The loss of two views that resemble each other."""
    return lambda z1, z2: loss(z1, z1 + z2)


def lightly() -> list[Comparison]:
    """Its losses of two views."""
    import_torchvision()
    from lightly.loss import DCLLoss, DCLWLoss, NegativeCosineSimilarity, NTXentLoss
    from lightly.loss.hypersphere_loss import HypersphereLoss

    queue = normalize(torch.randn(100, D, dtype=torch.float64, generator=torch.Generator().manual_seed(SEED)), dim=1)
    bank = NTXentLoss(TEMPERATURE, memory_bank_size=tuple(queue.shape))

    def our_queue(z1: Tensor, z2: Tensor) -> Tensor:
        return losses.info_nce(z1, z2, queue.to(z1.dtype), temperature=TEMPERATURE)

    def their_queue(z1: Tensor, z2: Tensor) -> Tensor:
        bank.memory_bank.bank = queue.to(z1.dtype)  # each call adds to it
        loss: Tensor = bank(z1, z2)
        return loss

    def weights(z1: Tensor, z2: Tensor) -> Tensor:
        return 2 - len(z1) * ((z1 * z2).sum(1) / SIGMA).softmax(0)

    def sphere(z1: Tensor, z2: Tensor) -> Tensor:
        return losses.alignment(z1, z2) + (losses.uniformity(z1) + losses.uniformity(z2)) / 2

    nt_xent, decoupled = (partial(loss, temperature=TEMPERATURE) for loss in (losses.nt_xent, losses.decoupled))
    weighted, attached = partial(decoupled, sigma=SIGMA), DCLLoss(TEMPERATURE, weight_fn=weights)
    return [
        Comparison("nt_xent", "NTXentLoss", nt_xent, NTXentLoss(TEMPERATURE)),
        Comparison("info_nce", "NTXentLoss, memory bank", our_queue, their_queue),
        Comparison("decoupled", "DCLLoss", decoupled, DCLLoss(TEMPERATURE)),
        Comparison("decoupled, sigma", "DCLLoss, weight_fn as DCLW's but not detached", weighted, attached),
        Comparison(
            "decoupled, sigma", "DCLWLoss", weighted, DCLWLoss(TEMPERATURE, SIGMA), "no gradient through the weights"
        ),
        Comparison("negative_cosine", "NegativeCosineSimilarity", losses.negative_cosine, NegativeCosineSimilarity()),
        Comparison("alignment + uniformity", "HypersphereLoss, t=2", sphere, HypersphereLoss(t=2.0)),
    ]


def open_clip() -> list[Comparison]:
    """Its losses of pictures and texts, which take unit rows."""
    import_torchvision()
    from open_clip.loss import ClipLoss, SigLipLoss

    clip = partial(losses.clip, temperature=TEMPERATURE)
    sigmoid = partial(losses.sigmoid, temperature=TEMPERATURE, bias=BIAS)
    their_clip, their_sigmoid = (partial(theirs(), logit_scale=1 / TEMPERATURE) for theirs in (ClipLoss, SigLipLoss))
    return [
        Comparison("clip", "ClipLoss", clip, unit(their_clip)),
        Comparison("sigmoid", "SigLipLoss", sigmoid, unit(partial(their_sigmoid, logit_bias=BIAS))),
    ]


def metric_learning() -> list[Comparison]:
    """Its losses of rows and labels."""
    from pytorch_metric_learning.losses import ContrastiveLoss, NTXentLoss, SupConLoss

    def several(z: Tensor, labels: Tensor) -> Tensor:
        others = (labels[:, None] == labels).fill_diagonal_(False).nonzero()[:, 1].view(len(z), -1)
        return losses.info_nce(z, z[others], z, temperature=TEMPERATURE, ids=labels, negative_ids=labels)

    def hinges(z: Tensor, labels: Tensor) -> Tensor:
        i, j = torch.triu_indices(len(z), len(z), 1)
        return losses.margin(z[i], z[j], labels[i] == labels[j], margin=1.0)

    nt_xent, supcon = (partial(loss, temperature=TEMPERATURE) for loss in (losses.nt_xent, losses.supcon))
    theirs = NTXentLoss(TEMPERATURE)
    return [
        Comparison("nt_xent", "NTXentLoss, two rows a label", nt_xent, stacked(theirs, TWO)),
        Comparison("info_nce", "NTXentLoss, eight rows a label", stacked(several, EIGHT), stacked(theirs, EIGHT)),
        Comparison("supcon", "SupConLoss", stacked(supcon, UNEVEN), stacked(SupConLoss(TEMPERATURE), UNEVEN)),
        Comparison(
            "supcon",
            "NTXentLoss, eight rows a label",
            stacked(supcon, EIGHT),
            stacked(theirs, EIGHT),
            "other positives are left out of the denominator",
        ),
        Comparison(
            "margin",
            "ContrastiveLoss",
            unit(stacked(hinges, UNEVEN)),
            stacked(ContrastiveLoss(), UNEVEN),
            "hinges neither squared nor halved; the mean of positives plus that of negatives, each over those not 0",
        ),
    ]


def triplets() -> list[Comparison]:
    """Its triplet losses, which normalise rows, and its miners."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchEasyHardMiner, BatchHardMiner, TripletMarginMiner
    from pytorch_metric_learning.reducers import MeanReducer

    def ours(mining: str, labels: Tensor = UNEVEN, **options: Any) -> Loss:
        return unit(stacked(partial(losses.triplet, margin=MARGIN, mining=mining, **options), labels))

    def theirs(miner: Any, labels: Tensor = UNEVEN, **options: Any) -> Loss:
        loss = TripletMarginLoss(MARGIN, **options)
        return stacked(lambda z, labels: loss(z, labels, miner and miner(z, labels)), labels)

    mean, cosine, semi = {"reducer": MeanReducer()}, {"distance": CosineSimilarity()}, BatchEasyHardMiner("easy")
    hard, hard_cosine = BatchHardMiner(), BatchHardMiner(**cosine)
    all_semi = TripletMarginMiner(MARGIN, "semihard")
    our_semi, their_semi = ours("semi-hard", TWO), theirs(semi, TWO, **mean)
    return [
        Comparison("triplet, active", "TripletMarginLoss", ours("active"), theirs(None)),
        Comparison("triplet, all", "TripletMarginLoss, MeanReducer", ours("all"), theirs(None, **mean)),
        Comparison("triplet, hard", "BatchHardMiner, MeanReducer", ours("hard"), theirs(hard, **mean)),
        Comparison(
            "triplet, hard, cosine",
            "BatchHardMiner, MeanReducer, CosineSimilarity",
            ours("hard", distance="cosine"),
            theirs(hard_cosine, **mean, **cosine),
        ),
        Comparison(
            "triplet, hard",
            "BatchHardMiner",
            near(ours("hard", TWO)),
            near(theirs(hard, TWO)),
            "the mean is over the triplets that are not 0",
        ),
        Comparison(
            "triplet, semi-hard",
            "BatchEasyHardMiner(easy, semihard), MeanReducer, two rows a label, near",
            near(our_semi),
            near(their_semi),
        ),
        Comparison(
            "triplet, semi-hard",
            "BatchEasyHardMiner(easy, semihard), MeanReducer, two rows a label",
            our_semi,
            their_semi,
            "where no negative is farther than the positive the anchor is left out; ours takes the farthest negative",
        ),
        Comparison(
            "triplet, semi-hard",
            "TripletMarginMiner(semihard), MeanReducer",
            ours("semi-hard"),
            theirs(all_semi, **mean),
            "every negative that is farther than the positive by less than the margin, not the nearest that is farther",
        ),
    ]


PEERS = {
    "lightly": (lightly,),
    "open_clip_torch": (open_clip,),
    "pytorch-metric-learning": (metric_learning, triplets),
}


def outcome(loss: Loss, pair: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    leaves = [z.clone().requires_grad_() for z in pair]
    value = loss(*leaves)
    return value.detach(), torch.cat(torch.autograd.grad(value, leaves))


def apart(one: Comparison, dtype: torch.dtype) -> list[float]:
    """How far the values and the gradients are from each other."""
    source = torch.Generator().manual_seed(SEED)
    pair = [torch.randn(N, D, dtype=torch.float64, generator=source).to(dtype) for _ in range(2)]
    both = zip(outcome(one.our_form, pair), outcome(one.their_form, pair))
    return [float(f"{(ours - theirs).norm() / theirs.norm():.2g}") for ours, theirs in both]


def compare(one: Comparison) -> dict[str, Any]:
    """A row: both names, and how far values and gradients are apart."""
    row: dict[str, Any] = {"loss": one.loss, "theirs": one.theirs}
    row |= {name: apart(one, getattr(torch, name)) for name in ("float32", "float64")}
    if one.difference:
        return row | {"difference": one.difference}
    return row | {"agree": max(*row["float32"], *row["float64"]) <= CLOSE}


def main() -> None:
    """Compares, prints and writes the rows; exits with 1 if a peer of the same definition does not agree."""
    given, rows = arguments(__doc__), []
    for peer, parts in PEERS.items():
        try:
            found = [one for part in parts for one in part()]
        except (ImportError, RuntimeError) as error:
            rows.append({"peer": peer, "absent": str(error)})
            continue
        rows += [{"peer": peer, "version": version(peer), **compare(one)} for one in found]
    print(*rows, write("agreement", CLAIM, rows, [SEED], given.out), sep="\n")
    sys.exit(not all(row.get("agree", True) for row in rows))


if __name__ == "__main__":
    main()
