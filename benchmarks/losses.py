"""Time and memory of the pairwise losses, forward and backward, beside the plain matrix and beside peers.

Every measurement has a process of its own, on one thread. Times are processor time: each round runs every form once,
one after the other, a ratio is taken within a round, and medians over rounds are reported. Peak memory is that of a
single run, after a small one, beyond the inputs. All are glibc's default allocator's, but for rows that keep freed
memory between steps, as training does (`keep_memory`). From 16,384 pairs on there is nothing to compare with, and the
time is that single run's. On a GPU, events tell the time and torch's allocator the memory.

The peers need their own environment; those that cannot be imported are said to be absent. It resumes where it stopped:
a size that is measured stays in runs/benchmarks/losses, in a folder for the commit. Half an hour.
"""

import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _peers import import_torchvision
from _record import arguments, commit, write
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from twinlens import losses

CLAIM = (
    "Beside the plain matrix form, on one thread and with glibc's default allocator, NT-Xent of 4,096 pairs of 128 "
    "features takes at most 1/3 of the time and 1/15 of the memory, of 8,192 at most 1/3 and 1/40, of 256 no more "
    "time; 65,536 pairs fit in a process of 1 GiB; symmetric CLIP of 4,096 takes at most 1/2 of the time and the "
    "sigmoid loss of 8,192 at most 1/10 of the memory"
)
SEED, TEMPERATURE, BIAS = 0, 0.1, -10.0
PEERS = {"lightly": "lightly", "pytorch-metric-learning": "pytorch_metric_learning"}
# The most pairs, by memory or time.
LARGEST = {"plain": 8192, "compiled": 8192, "lightly": 4096, "pytorch-metric-learning": 256}
LEAST, MOST, SECONDS = 3, 51, 15.0  # a form's rounds, and its time, after which it takes part in no more of them

Loss = Callable[[Tensor, Tensor], Tensor]


class Case(NamedTuple):
    """A loss, its number of pairs and of features, and whether freed memory is kept."""

    loss: str
    n: int
    dim: int = 128
    kept: bool = False


LIMITS = {  # the claim
    Case("nt_xent", 256): {"ratio_to_plain": 1},
    Case("nt_xent", 4096): {"ratio_to_plain": 1 / 3, "peak_to_plain": 1 / 15},
    Case("nt_xent", 8192): {"ratio_to_plain": 1 / 3, "peak_to_plain": 1 / 40},
    Case("nt_xent", 65536): {"resident_mib": 1024},
    Case("clip", 4096): {"ratio_to_plain": 1 / 2},
    Case("sigmoid", 8192): {"peak_to_plain": 1 / 10},
}
SMALLEST = [Case("nt_xent", 256), Case("clip", 64), Case("sigmoid", 64)]
CASES = [
    *(Case("nt_xent", n) for n in (256, 1024, 4096, 8192, 16384, 65536)),
    *(Case(loss, n) for loss in ("clip", "sigmoid") for n in (256, 1024, 4096, 8192)),
    *(Case(loss, n, kept=True) for loss in ("nt_xent", "clip") for n in (256, 4096)),
    *(Case("nt_xent", n, 512) for n in (256, 1024, 4096, 16384, 65536)),
]


def plain_nt_xent(z1: Tensor, z2: Tensor) -> Tensor:
    z = normalize(torch.cat((z1, z2)), dim=1)
    s = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)  # (2N, 2N)
    return cross_entropy(s, torch.arange(len(z), device=z.device).roll(len(z1)))


def plain_clip(a: Tensor, b: Tensor) -> Tensor:
    s = normalize(a, dim=1) @ normalize(b, dim=1).T / TEMPERATURE  # (N, N)
    own = torch.arange(len(a), device=a.device)
    return (cross_entropy(s, own) + cross_entropy(s.T, own)) / 2


def plain_sigmoid(a: Tensor, b: Tensor) -> Tensor:
    s = normalize(a, dim=1) @ normalize(b, dim=1).T / TEMPERATURE + BIAS  # (N, N)
    return -logsigmoid(s * (2 * torch.eye(len(a), device=a.device) - 1)).sum() / len(a)


def lightly() -> Loss:
    import_torchvision()
    from lightly.loss import NTXentLoss

    theirs: Loss = NTXentLoss(TEMPERATURE)
    return theirs


def metric_learning() -> Loss:
    from pytorch_metric_learning.losses import NTXentLoss

    theirs = NTXentLoss(TEMPERATURE)
    return lambda z1, z2: theirs(torch.cat((z1, z2)), torch.arange(len(z1), device=z1.device).repeat(2))


OURS: dict[str, Loss] = {
    "nt_xent": partial(losses.nt_xent, temperature=TEMPERATURE),
    "clip": partial(losses.clip, temperature=TEMPERATURE),
    "sigmoid": partial(losses.sigmoid, temperature=TEMPERATURE, bias=BIAS),
}
PLAIN: dict[str, Loss] = {"nt_xent": plain_nt_xent, "clip": plain_clip, "sigmoid": plain_sigmoid}
FORMS: dict[str, Callable[[str], Loss]] = {
    "twinlens": OURS.__getitem__,
    "plain": PLAIN.__getitem__,
    "compiled": lambda loss: torch.compile(PLAIN[loss]),
    "lightly": lambda _: lightly(),
    "pytorch-metric-learning": lambda _: metric_learning(),
}


def forms(case: Case) -> list[str]:
    """The forms that a case compares."""
    names = ["twinlens", "plain"]
    if torch.cuda.is_available():
        names.append("compiled")
    if case.loss == "nt_xent" and not case.kept:
        names += PEERS
    return [name for name in names if case.n <= LARGEST.get(name, case.n)]


def fresh(measurement: Callable[..., Any], *given: Any) -> Any:
    """What `measurement(*given)` returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measurement, *given).result()


def embeddings(n: int, dim: int) -> list[Tensor]:
    """Two random tensors (N, D), on the GPU where there is one."""
    source, device = torch.Generator().manual_seed(SEED), "cuda" if torch.cuda.is_available() else "cpu"
    return [torch.randn(n, dim, generator=source).to(device).requires_grad_() for _ in range(2)]


def run(loss: Loss, pair: Sequence[Tensor]) -> float:
    """Milliseconds of forward and backward."""
    for z in pair:
        z.grad = None
    if pair[0].is_cuda:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        loss(*pair).backward()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))
    begun = time.process_time()
    loss(*pair).backward()
    return 1000 * (time.process_time() - begun)


def alone(case: Case, name: str) -> dict[str, Any]:
    """One run of one form: its time, its peak memory beyond what the process held before, and the process's own."""
    torch.set_num_threads(1)
    try:
        loss = FORMS[name](case.loss)
    except (ImportError, RuntimeError) as error:
        return {"absent": str(error)}
    run(loss, embeddings(64, case.dim))
    pair = embeddings(case.n, case.dim)
    facts = {"version": version(name)} if name in PEERS else {}
    if pair[0].is_cuda:
        torch.cuda.reset_peak_memory_stats()
        held, ms = torch.cuda.memory_allocated() / 2**20, run(loss, pair)
        return {**facts, "ms": ms, "peak_mib": torch.cuda.max_memory_allocated() / 2**20 - held}
    held, ms = resident("VmRSS"), run(loss, pair)
    peak = resident("VmHWM")  # not ru_maxrss, which a process inherits from the one that starts it
    return {**facts, "ms": ms, "peak_mib": peak - held, "resident_mib": peak}


def single(case: Case, name: str) -> dict[str, Any]:
    """What `alone` finds in a new process; nothing where memory is kept, since that changes no peak."""
    if name in PEERS and find_spec(PEERS[name]) is None:
        return {"absent": "not installed"}
    return {} if case.kept else dict(fresh(alone, case, name))


def resident(field: str) -> float:
    """This process's resident memory in MiB: now ("VmRSS") or at most ("VmHWM")."""
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index(f"{field}:") + 1]) / 1024


def together(case: Case, names: Sequence[str], most: int) -> dict[str, list[float]]:
    """The milliseconds of each form in each round, for as many rounds as the plain form takes part in."""
    torch.set_num_threads(1)
    if case.kept:
        from twinlens.distributed import keep_memory

        keep_memory()
    made, pair = {name: FORMS[name](case.loss) for name in names}, embeddings(case.n, case.dim)
    for loss in made.values():
        run(loss, pair)
    times: dict[str, list[float]] = {name: [] for name in names}

    def wanted(name: str) -> bool:
        done = times[name]
        return len(done) < min(LEAST, most) or (len(done) < most and sum(done) < 1000 * SECONDS)

    while wanted("plain"):
        for name in filter(lambda name: name == "twinlens" or wanted(name), names):
            times[name].append(run(made[name], pair))
    return times


def measure(case: Case, most: int) -> list[dict[str, Any]]:
    """A row for each form."""
    gpu, rows = torch.cuda.is_available(), {name: single(case, name) for name in forms(case)}
    present = [name for name in rows if "absent" not in rows[name]]
    # Gigabytes, once freed, change what glibc keeps for everybody: whoever takes them is timed alone.
    beside = [name for name in present if name != "pytorch-metric-learning"]
    times = fresh(together, case, beside, most) if "plain" in present else {}
    for name in present:
        row = rows[name]
        if name in times:
            ratios = [own / plain for own, plain in zip(times[name], times["plain"])]
            row |= {"rounds": len(ratios), "ms": statistics.median(times[name])}
            row |= {"ratio_to_plain": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
        if name in times and rows["plain"].get("peak_mib", 0) > 1:  # the kernel's counts are too coarse for less
            row["peak_to_plain"] = row["peak_mib"] / rows["plain"]["peak_mib"]
    if case in LIMITS and not gpu:
        rows["twinlens"]["at_most"] = LIMITS[case]
    device = torch.cuda.get_device_name() if gpu else "cpu, 1 thread"
    allocator = "torch's" if gpu else f"{' '.join(platform.libc_ver())}, {'memory kept' if case.kept else 'default'}"
    facts = {"loss": case.loss, "n": case.n, "dim": case.dim, "device": device, "allocator": allocator}
    facts["commit"] = commit()
    return [{**facts, "form": name, **rounded(row)} for name, row in rows.items()]


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with four digits of each measured number."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    """Measures what is not measured yet, prints and writes the rows; exits with 1 if the claim does not hold."""
    given, rows = arguments(__doc__), []
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) if given.smallest else Path("runs/benchmarks/losses") / commit()
        runs.mkdir(parents=True, exist_ok=True)
        for case in SMALLEST if given.smallest else CASES:
            if case.kept and torch.cuda.is_available():
                continue  # it is glibc that keeps
            path = runs / f"{'-'.join(map(str, case))}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(case, 1 if given.smallest else MOST)))
            rows += json.loads(path.read_text())
            print(*rows[-len(forms(case)) :], sep="\n", flush=True)
    print(write("losses", CLAIM, rows, [SEED], given.out))
    if not given.smallest:  # single rounds of small sizes prove nothing
        broken = [row for row in rows if any(row[name] > most for name, most in row.get("at_most", {}).items())]
        sys.exit("\n".join(f"the claim does not hold: {row}" for row in broken) or 0)


if __name__ == "__main__":
    main()
