"""Linear segmentation: a layer on the frozen features of each place names the class of every pixel.

The protocol of Oquab et al. 2024, "DINOv2: learning robust visual features without supervision", section 7.4: a linear
layer predicts logits at the resolution of the features, which are upsampled to that of the picture.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from twinlens.data.scenes import Scenes
from twinlens.evaluate.dense import described, learn, maps, resampled
from twinlens.evaluate.result import Result


def segmentation(
    encoder: nn.Module,
    train: Scenes,
    test: Scenes,
    *,
    epochs: int = 20,
    batch: int = 16,
    rate: float = 1e-2,
    seed: int = 0,
) -> Result:
    """Mean IoU over classes, the background one of them, of a linear layer on what the frozen encoder gives.

    One matrix takes the standardised features of a place to logits of classes; they are upsampled bilinearly, and
    cross-entropy is taken over all pixels. The IoU of a class is over all test pixels together; a class that is neither
    there nor predicted does not count. The interval is over test scenes, for the layer as it is.

    Raises:
        InputError: as `maps` does, where a setting is out of range, or training diverges.
    """
    x, z = maps(encoder, train, test)
    count = len(train.classes) + 1
    layer = skip_init(nn.Conv2d, x.shape[1], count, 1, device=x.device)  # draws nothing
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)

    def loss(rows: Tensor) -> Tensor:
        masks = train.masks[rows].to(x.device)
        return F.cross_entropy(upsampled(layer(x[rows.to(x.device)]), masks), masks)

    learn(layer, loss, len(train), epochs=epochs, batch=batch, rate=rate, seed=seed)
    tables = []
    with torch.no_grad():
        for some, masks in zip(z.split(batch), test.masks.split(batch)):
            tables.append(confusion(upsampled(layer(some), masks).argmax(1).cpu(), masks.cpu(), count))
    table = torch.cat(tables)  # (M, K + 1, K + 1)
    flat = table.flatten(1).double().numpy()
    interval = resampled(lambda times: mean_iou(torch.from_numpy(times @ flat).view(count, count)), len(flat))
    learning = {"epochs": epochs, "batch": batch, "rate": rate, "seed": seed}
    settings = described(x, test, classes=count, background="a class", head="linear, bilinear to pixels", **learning)
    return Result("segmentation mIoU", mean_iou(table.sum(0)), interval, settings)


def upsampled(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits (N, K, rows, columns) at the pixels of masks (N, H, W): (N, K, H, W)."""
    return F.interpolate(logits, size=masks.shape[1:], mode="bilinear", align_corners=False)


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """How many pixels of each scene are of a class and called another: two (N, H, W) -> (N, truth, predicted)."""
    scene = torch.arange(len(truth), device=truth.device)[:, None, None]
    place = (scene * classes + truth) * classes + predicted
    return place.flatten().bincount(minlength=len(truth) * classes**2).view(-1, classes, classes)


def mean_iou(confusion: Tensor) -> float:
    """The mean over classes of intersection over union, of (truth, predicted) counts; absent classes do not count."""
    both = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - both
    return float((both / union)[union > 0].double().mean())
