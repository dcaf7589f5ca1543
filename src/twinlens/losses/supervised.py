"""Contrastive losses with labels: every sample of the same class is a positive."""

from typing import Literal

from torch import Tensor

from twinlens.errors import InputError
from twinlens.losses import inputs
from twinlens.losses.tiled import Pairs, log_sum_exp


def supcon(z: Tensor, labels: Tensor, *, temperature: float | Tensor, form: Literal["out", "in"] = "out") -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362).

    `z` (N, D), in which the views of a sample are rows of the same label; `labels` (N,) integers. "out" averages the
    log-probabilities of the positives (eq. 2), "in" takes the log of their average (eq. 3). The mean over the rows that
    have a positive; 0 where none has. The paper's factor temperature / base temperature is left to the learning rate.
    """
    if form not in ("out", "in"):
        raise InputError(f"form is {form!r}: expected 'out' (eq. 2 of the paper) or 'in' (eq. 3).")
    (z,) = inputs.embeddings(z=z)
    labels, order = inputs.ids("labels", labels, z).sort()  # one class after the other: few tiles hold a positive
    z = inputs.unit(z)[order] * inputs.temperature(temperature) ** -0.5
    _, group, sizes = labels.unique(return_inverse=True, return_counts=True)
    others = sizes[group] - 1  # positives of each row
    rivals, _ = log_sum_exp(z, None, Pairs())
    if form == "out":
        sums = z.new_zeros(len(sizes), z.shape[1]).index_add(0, group, z)[group] - z  # of each row's positives
        pull = (z * sums).sum(1) / others.clamp_min(1)
    else:
        pull, _ = log_sum_exp(z, None, Pairs(labels, labels, equal=True))
        pull = pull.where(others > 0, 0) - others.clamp_min(1).to(z.dtype).log()
    losses = (rivals - pull).where(others > 0, 0)
    mean: Tensor = losses.sum() / (others > 0).sum().clamp_min(1)
    return mean
