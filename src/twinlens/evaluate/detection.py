"""Detection: a light head on frozen features finds objects, without anchors.

After Tian et al. 2019, "FCOS: fully convolutional one-stage object detection", at one scale: each place of the feature
map says whether it lies in the middle of an object, of which class, and how far the box's four sides are.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens import random
from twinlens.data.scenes import Scenes
from twinlens.errors import InputError
from twinlens.evaluate.boxes import Detections, Ranking, matched, suppress
from twinlens.evaluate.dense import described, learn, maps, resampled
from twinlens.evaluate.result import Result

_HIDDEN = 64
_MOST = 100  # detections in a scene, before suppression
_LEAST = 0.01  # score of a detection
_SAME = 0.5  # IoU above which two detections of a class are one


def detection(
    encoder: nn.Module,
    train: Scenes,
    test: Scenes,
    *,
    epochs: int = 20,
    batch: int = 16,
    rate: float = 1e-3,
    seed: int = 0,
) -> Result:
    """Mean average precision at an IoU of 0.5, as in VOC since 2010, of a head on what the frozen encoder gives.

    The head is a 3x3 convolution to 64 features, a ReLU, and a linear layer for each place. The mean is over classes
    that test scenes hold. The interval is over test scenes, for the head as it is.

    Raises:
        InputError: as `maps` does, where a part has no object, a setting is out of range, or training diverges.
    """
    for kind, scenes in (("training", train), ("test", test)):
        if not scenes.counts.any():
            raise InputError(f"{len(scenes)} {kind} scenes hold no object: expected 1 or more; compose them with some.")
    x, z = maps(encoder, train, test)
    size = train.masks.shape[1], train.masks.shape[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.seed(seed, 0, 0))
        head = nn.Sequential(
            nn.Conv2d(x.shape[1], _HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HIDDEN, 5 + len(train.classes), 1),
        ).to(x.device)
    places = centres(x.shape[2:], size).to(x.device)  # (T, 2)
    target = targets(train.boxes.to(x.device), train.labels.to(x.device), places)

    def loss(rows: Tensor) -> Tensor:
        rows = rows.to(x.device)
        return objective(read(head(x[rows]), size), Target(*(part[rows] for part in target)))

    learn(head, loss, len(train), epochs=epochs, batch=batch, rate=rate, seed=seed)
    with torch.no_grad():
        some = [detect(read(head(each), size), places, size) for each in z.split(batch)]
    found = suppress(Detections(*(torch.cat([part.cpu() for part in parts]) for parts in zip(*some))), most=_SAME)
    ranking = Ranking(found, matched(found, test.boxes, test.labels), test.labels, len(test.classes))
    learning = {"epochs": epochs, "batch": batch, "rate": rate, "seed": seed}
    settings = described(
        x, test, classes=len(test.classes), IoU=0.5, head=f"3x3 to {_HIDDEN}, ReLU, 1x1", suppression=_SAME, **learning
    )
    return Result("detection mAP@0.5", ranking.precision(), resampled(ranking.precision, len(test)), settings)


class Output(NamedTuple):
    """What the head says of T places: middle (N, T) and class (N, T, K) as logits, sides (N, T, 4) in pixels."""

    middle: Tensor
    classes: Tensor
    sides: Tensor


class Target(NamedTuple):
    """What it should say: middle (N, T) in [0, 1], label (N, T), -1 outside of all objects, sides (N, T, 4)."""

    middle: Tensor
    label: Tensor
    sides: Tensor


def read(raw: Tensor, size: tuple[int, int]) -> Output:
    """What the head's numbers (N, 5 + K, rows, columns) mean in a scene of `size`: sides are positive, in cells."""
    cell = raw.new_tensor((size[1] / raw.shape[3], size[0] / raw.shape[2])).repeat(2)  # (4,)
    numbers = raw.flatten(2).mT
    return Output(numbers[..., 0], numbers[..., 5:], F.softplus(numbers[..., 1:5]) * cell)


def centres(grid: tuple[int, ...], size: tuple[int, int]) -> Tensor:
    """x and y, in pixels, of the centres of rows x columns cells that cover a scene of (H, W): (T, 2), row by row."""
    y, x = ((torch.arange(count) + 0.5) * (length / count) for count, length in zip(grid, size))
    return torch.stack((x.repeat(len(y)), y.repeat_interleave(len(x))), dim=1)


def targets(boxes: Tensor, labels: Tensor, places: Tensor) -> Target:
    """A place within several boxes belongs to the smallest (section 3.1); so does the place nearest to a box's middle.

    That one is the object's middle, 1; others are the less the more unequal their distances from opposite sides are
    (equation 3). boxes (N, M, 4), labels (N, M), places (T, 2).
    """
    there = labels >= 0
    sides = torch.cat((places[:, None] - boxes[:, None, :, :2], boxes[:, None, :, 2:] - places[:, None]), dim=3)
    off = ((boxes[:, None, :, :2] + boxes[:, None, :, 2:]) / 2 - places[:, None]).square().sum(3)  # (N, T, M)
    nearest = F.one_hot(off.argmin(1), len(places)).bool().mT  # (N, T, M)
    inside = ((sides > 0).all(3) | nearest) & there[:, None]
    area = (boxes[..., 2:] - boxes[..., :2]).prod(2)[:, None].expand(inside.shape)
    smallest, owner = torch.where(inside, area, torch.inf).min(2, keepdim=True)  # (N, T, 1)
    mine = owner[..., None].expand(-1, -1, -1, 4)
    near = sides.clamp_min(0).gather(2, mine).squeeze(2)  # (N, T, 4)
    low, high = torch.minimum(near[..., :2], near[..., 2:]), torch.maximum(near[..., :2], near[..., 2:])
    middle = torch.where(nearest.gather(2, owner).squeeze(2), 1, (low / high.clamp_min(1e-6)).prod(2).sqrt())
    owned = smallest.squeeze(2).isfinite()
    label = labels.gather(1, owner.squeeze(2))
    return Target(torch.where(owned, middle, 0), torch.where(owned, label, -1), near)


def objective(output: Output, target: Target) -> Tensor:
    """Cross-entropies of middle and class, and -log IoU of the box, the last two weighted by the middle.

    As in FCOS, with its middle in place of a score of its own for each class. A sum over places, for each unit of
    weight.
    """
    weight, mine = target.middle, target.label >= 0
    found = F.binary_cross_entropy_with_logits(output.middle, weight, reduction="sum")
    named = F.cross_entropy(output.classes[mine], target.label[mine], reduction="none")
    a, b = output.sides[mine], target.sides[mine]  # (P, 4), seen from one place: the intersection is that of distances
    near = torch.minimum(a, b)
    both = (near[:, :2] + near[:, 2:]).prod(1)
    union = (a[:, :2] + a[:, 2:]).prod(1) + (b[:, :2] + b[:, 2:]).prod(1) - both
    boxed = -(both / union).clamp_min(1e-6).log()
    return (found + (weight[mine] * (named + boxed)).sum()) / weight.sum().clamp_min(1)


def detect(output: Output, places: Tensor, size: tuple[int, int]) -> Detections:
    """The likeliest pairs of a place and a class, scored by both, with boxes cut to the scene."""
    scores = (output.middle.sigmoid()[..., None] * output.classes.softmax(2)).flatten(1)  # (N, T K)
    scores, pairs = scores.topk(min(_MOST, scores.shape[1]), dim=1)
    place, labels = pairs // output.classes.shape[2], pairs % output.classes.shape[2]
    boxes = torch.cat((places - output.sides[..., :2], places + output.sides[..., 2:]), dim=2)  # (N, T, 4)
    edge = boxes.new_tensor((size[1], size[0], size[1], size[0]))
    boxes = boxes.clamp_min(0).minimum(edge).gather(1, place[..., None].expand(-1, -1, 4))
    return Detections(boxes, torch.where(scores >= _LEAST, labels, -1), scores)
