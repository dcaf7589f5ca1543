"""Boxes: how far two are the same, which of those that say the same stay, and what a ranking of them is worth.

A box is left, top, right, bottom, on the edges of pixels.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]


class Detections(NamedTuple):
    """What was found in N scenes, P places each: boxes (N, P, 4), labels (N, P), -1 where nothing is, scores (N, P)."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of each with each: (..., P, 4) and (..., Q, 4) -> (..., P, Q); 0 where both are empty."""
    a, b = a[..., :, None, :], b[..., None, :, :]
    across = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0)
    both = across.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    return torch.where(union > 0, both / union, 0)


def suppress(found: Detections, *, most: float) -> Detections:
    """Greedy non-maximum suppression: from the highest score down, what has an IoU above `most` with one that stays.

    Classes do not suppress each other. What goes is labelled -1 with score 0; all come in order of their scores.
    """
    scores, order = found.scores.sort(dim=1, descending=True, stable=True)
    labels = found.labels.gather(1, order)
    boxes = found.boxes.gather(1, order[..., None].expand(-1, -1, 4))
    rivals = (iou(boxes, boxes) > most) & (labels[:, :, None] == labels[:, None])  # (N, P, P)
    stays = labels >= 0
    for i in range(labels.shape[1] - 1):  # whether the i-th stays is known by now
        stays[:, i + 1 :] &= ~(rivals[:, i, i + 1 :] & stays[:, i, None])
    return Detections(boxes, torch.where(stays, labels, -1), torch.where(stays, scores, 0))


def matched(found: Detections, boxes: Tensor, labels: Tensor, *, least: float = 0.5) -> Tensor:
    """Which detections are right, (N, P) bool, given the true boxes (N, M, 4) and labels (N, M), -1 being none.

    As in Everingham et al. 2010, "The Pascal visual object classes (VOC) challenge", section 4.2.2: a detection goes
    to the true box of its class with the largest IoU, and is right where that is `least` or more and no detection of a
    higher score, of equal ones an earlier, has gone to it: a second one is wrong.
    """
    order = found.scores.argsort(dim=1, descending=True, stable=True)
    named = found.labels.gather(1, order)
    overlap = iou(found.boxes.gather(1, order[..., None].expand(-1, -1, 4)), boxes)  # (N, P, M)
    overlap = torch.where((named[..., None] == labels[:, None]) & (labels >= 0)[:, None], overlap, -1)
    best, place = overlap.max(2)
    claims = (place[..., None] == torch.arange(labels.shape[1], device=place.device)) & (best >= least)[..., None]
    first = (claims & (claims.cumsum(1) == 1)).any(2)
    return torch.zeros_like(first).scatter_(1, order, first)


class Ranking:
    """Detections over all scenes, class by class, from the highest score down; of equal ones the earlier scene first.

    `right` (N, P) says which of them are, as `matched` does, `labels` (N, M) what there was to be found.
    """

    def __init__(self, found: Detections, right: Tensor, labels: Tensor, classes: int) -> None:
        scene, place = (found.labels >= 0).nonzero(as_tuple=True)
        order = found.scores[scene, place].argsort(descending=True, stable=True)
        scene, place = scene[order], place[order]
        named, hits = found.labels[scene, place], right[scene, place]
        self.scenes = len(labels)
        self._classes = []
        for k in range(classes):
            mine = named == k
            there = (labels == k).sum(1)  # (N,)
            self._classes.append((scene[mine].cpu().numpy(), hits[mine].cpu().numpy(), there.cpu().numpy()))

    def precision(self, times: Ints | None = None) -> float:
        """Mean average precision over the classes that are there, each scene counted `times` (N,), by default once.

        NaN where no class is there.
        """
        times = np.ones(self.scenes, dtype=np.int64) if times is None else times
        each = [
            average_precision(hits, int(there @ times), times[scene])
            for scene, hits, there in self._classes
            if there @ times
        ]
        return float(np.mean(each)) if each else float("nan")


def average_precision(right: NDArray[np.bool_], there: int, times: Ints | None = None) -> float:
    """Area under precision over recall of a ranking (n,), from the highest score down, of which `there` can be right.

    All points count, as in VOC since 2010: the precision at a recall is the highest at that recall or above. `times`
    (n,) is how often each stands at its place.
    """
    times = np.ones(len(right), dtype=np.int64) if times is None else times
    hits = times * right
    precision = hits.cumsum() / np.maximum(times.cumsum(), 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(hits @ highest / there)
