"""How fast a whole step of SimCLR is: views made by Twinlens, beside the same step fed by lightly's transform.

Encoder, loss and optimizer are the same; each round takes a few steps of both, one after the other, and a ratio is
taken within a round. lightly needs its own environment (benchmarks/views.py); where it cannot be imported it is said to
be absent.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from _peers import import_torchvision
from _record import arguments, write
from torch import Tensor
from torch.utils.data import DataLoader
from views import SEED, Transformed, pictures

from twinlens import distributed
from twinlens.batch import Batch
from twinlens.data.load import load
from twinlens.encoders.small import small
from twinlens.feed import Chunk, Feed
from twinlens.gradients import gradients
from twinlens.methods.simclr import SimCLR
from twinlens.update.optimizers import optimizer
from twinlens.views.image import ImageViews

CLAIM = "A whole SimCLR step is at least 2 times as fast as the same step fed by lightly's transform with 2 workers."
SIZE, BATCH, JITTER = 32, 256, 0.5

Steps = Callable[[int], None]


def trainer() -> Callable[[list[Chunk]], None]:
    """Takes one step on the chunks it is given."""
    fabric = distributed.launch(1, "32-true")
    method = SimCLR(small(3, SIZE))
    learner = optimizer("adamw", method, rate=1e-3, decay=0.05)
    model: Any = fabric.setup_module(method)

    def step(chunks: list[Chunk]) -> None:
        learner.zero_grad()
        gradients(fabric, model, chunks, BATCH)
        learner.step()

    return step


def twinlens(x: Tensor) -> Steps:
    """Views from uint8 in batches, in the process that trains."""
    samples = load(x.numpy()).train
    maker = ImageViews(size=SIZE, jitter=JITTER)
    feed = Feed(samples, maker, SimCLR.views, batch=BATCH, micro_batches=1, seed=SEED, device=torch.device("cpu"))
    step, done = trainer(), [0]

    def run(count: int) -> None:
        for chunks in feed.run(done[0], done[0] + count):
            step(chunks)
        done[0] += count

    return run


def lightly(x: Tensor) -> Steps:
    """lightly's SimCLRTransform, picture by picture, in a DataLoader of two workers that live from epoch to epoch."""
    import_torchvision()
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(input_size=SIZE, cj_strength=JITTER, sigmas=(0.1 * SIZE / 224, 2 * SIZE / 224))
    loader = DataLoader(
        Transformed(x, transform), BATCH, num_workers=2, persistent_workers=True, drop_last=True, shuffle=True
    )
    step = trainer()

    def forever() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    batches, none = forever(), torch.empty(0, dtype=torch.int64)

    def run(count: int) -> None:
        for views in islice(batches, count):
            step([lambda views=views: Batch(tuple(views), none, none)])

    return run


def measure(samples: int, steps: int, rounds: int, pause: float) -> list[dict[str, Any]]:
    """A row for each contender: views per second of the whole step, and ours over it, medians over the rounds."""
    x = pictures(samples, SIZE)
    rows, runs = [], {}
    for make in (twinlens, lightly):
        try:
            runs[make.__name__] = make(x)
            runs[make.__name__](2)  # workers start, caches fill
        except (ImportError, RuntimeError) as error:
            rows.append({"contender": make.__name__, "absent": str(error)})
            runs.pop(make.__name__, None)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(steps)
            seconds[name].append(time.perf_counter() - start)
            time.sleep(pause)  # workers fill their queues again, which is a head start of four batches for lightly
    for name, times in seconds.items():
        ratio = statistics.median(t / ours for t, ours in zip(times, seconds["twinlens"], strict=True))
        rate = statistics.median(2 * BATCH * steps / t for t in times)
        case = {"size": SIZE, "batch": BATCH, "steps": steps, "rounds": rounds}
        row = {"views_per_second": round(rate), "twinlens_times_as_fast": round(ratio, 2)}
        rows.append({"contender": name, **case, **row})
    return rows


def main() -> None:
    """Measures, prints and writes the rows."""
    given = arguments(__doc__)
    torch.set_num_threads(os.cpu_count() or 1)
    rows = measure(BATCH, 1, 1, 0) if given.smallest else measure(20 * BATCH, 20, 7, 3)
    for row in rows:
        print(row)
    print(write("step", CLAIM, rows, [SEED], given.out))


if __name__ == "__main__":
    main()
