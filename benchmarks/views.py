"""How fast views of pictures are made: Twinlens beside lightly with a DataLoader, and beside kornia.

Each round times every contender once, one after the other, on the same pictures and SimCLR's recipe (two views each);
a ratio is taken within a round and the median over rounds is reported, so that a busy machine slows all alike. The
peers need their own environment; those that cannot be imported are said to be absent.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from _peers import import_torchvision
from _record import arguments, write
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from twinlens.batch import Views
from twinlens.distributed import keep_memory
from twinlens.random import keys
from twinlens.views.image import ImageViews

CLAIM = "Views made in batches are at least 8 times (32 px) and 3 times (224 px) as fast as lightly's with 2 workers."
SEED = 0
CASES = [  # view, picture, pictures of a round, batch, and the paper's strength of jitter for CIFAR-10 and ImageNet
    {"size": 32, "side": 32, "pictures": 2048, "batch": 256, "jitter": 0.5},
    {"size": 224, "side": 256, "pictures": 256, "batch": 64, "jitter": 1.0},
]

Run = Callable[[], Any]


def pictures(count: int, side: int) -> Tensor:
    """Smooth random pictures (N, H, H, 3) uint8; speed does not depend on what they show."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(SEED))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous()


def twinlens(x: Tensor, size: int, batch: int, jitter: float) -> Run:
    """Ours, on all cores."""
    maker, aspect, key = ImageViews(size=size, jitter=jitter), torch.ones(len(x)), keys(SEED, 0, torch.arange(len(x)))

    def run() -> None:
        for part in (slice(i, i + batch) for i in range(0, len(x), batch)):
            maker.create((x[part], aspect[part]), key[part], Views())

    return run


class Transformed(Dataset[Any]):
    """Pictures in memory, transformed one by one, as with torchvision's own data sets."""

    def __init__(self, x: Tensor, transform: Callable[[Image.Image], Any]) -> None:
        self.x, self.transform = x.numpy(), transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.transform(Image.fromarray(self.x[index]))


def lightly(x: Tensor, size: int, batch: int, jitter: float) -> Run:
    """lightly's SimCLRTransform in a DataLoader of two workers, which live from round to round."""
    import_torchvision()
    from lightly.transforms import SimCLRTransform

    sigmas = (0.1 * size / 224, 2 * size / 224)  # the paper's, in pixels of 224, as ours
    transform = SimCLRTransform(input_size=size, cj_strength=jitter, sigmas=sigmas)
    loader = DataLoader(Transformed(x, transform), batch, num_workers=2, persistent_workers=True)

    def run() -> None:
        for _ in loader:
            pass

    return run


def kornia(x: Tensor, size: int, batch: int, jitter: float) -> Run:
    """kornia's batched changes, on all cores; its crop is not antialiased."""
    import kornia.augmentation as K

    middle = torch.full((3,), 0.5)
    colours = K.ColorJitter(0.8 * jitter, 0.8 * jitter, 0.8 * jitter, 0.2 * jitter, p=0.8)
    side = size // 10 | 1  # the paper's kernel: a tenth of the side, odd
    sigmas = (0.1 * size / 224, 2 * size / 224)
    change = torch.nn.Sequential(
        K.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        K.RandomHorizontalFlip(),
        colours,
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((side, side), sigmas, p=0.5),
        K.Normalize(middle, middle / 2),
    )

    def run() -> None:
        for i in range(0, len(x), batch):
            planes = x[i : i + batch].permute(0, 3, 1, 2).float() / 255
            change(planes), change(planes)

    return run


def measure(case: dict[str, Any], rounds: int) -> list[dict[str, Any]]:
    """A row for each contender: its views per second, and ours over it, medians over the rounds."""
    settings = {key: case[key] for key in ("size", "batch", "jitter")}
    x = pictures(case["pictures"], case["side"])
    runs: dict[str, Run] = {}
    rows = []
    for make in (twinlens, lightly, kornia):
        try:
            runs[make.__name__] = make(x, **settings)
        except (ImportError, RuntimeError) as error:
            rows.append({"contender": make.__name__, **case, "absent": str(error)})
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:  # the first round starts workers and fills caches
                seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(times, seconds["twinlens"], strict=True)]
        rate = statistics.median(2 * len(x) / t for t in times)
        speedup = {"twinlens_times_as_fast": round(statistics.median(ratios), 2), "range": _range(ratios)}
        rows.append({"contender": name, **case, "rounds": rounds, "views_per_second": round(rate), **speedup})
    return rows


def _range(ratios: list[float]) -> list[float]:
    return [round(min(ratios), 2), round(max(ratios), 2)]


def main() -> None:
    """Measures, prints and writes the rows."""
    given = arguments(__doc__)
    torch.set_num_threads(os.cpu_count() or 1)
    keep_memory()  # as every run does; it serves kornia in this process too
    cases = [{**case, "pictures": 16, "batch": 8} for case in CASES] if given.smallest else CASES
    rows = []
    for case in cases:
        rows += measure(case, rounds=1 if given.smallest else 7)
        print(*rows[-3:], sep="\n", flush=True)
    print(write("views", CLAIM, rows, [SEED], given.out))


if __name__ == "__main__":
    main()
