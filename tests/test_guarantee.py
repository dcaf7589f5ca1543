"""The batch guarantee: one gradient for a batch, whoever computes which part of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from guarantee import batch_gradient
from safetensors.torch import load_file
from torch import Tensor

from twinlens import discover

METHODS = sorted(discover.methods())


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    out = tmp_path_factory.mktemp("guarantee") / "gradients.safetensors"
    here = Path(__file__).parent
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*command, here / "guarantee.py", out], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return load_file(out)


def select(found: dict[str, Tensor], variant: str, name: str) -> dict[str, Tensor]:
    start = f"{variant}/{name}/"
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest relative difference of a parameter's gradient (or of the loss), over all of them."""
    assert a.keys() == b.keys() and len(a) > 1
    scale = max(float(grad.norm()) for grad in a.values())
    return max(float((a[n].double() - b[n].double()).norm()) / max(float(a[n].norm()), 1e-3 * scale) for n in a)


@pytest.mark.parametrize("name", METHODS)
def test_micro_batches_change_nothing(name: str) -> None:
    whole = batch_gradient(name, micro_batches=1, still=True)
    assert distance(whole, batch_gradient(name, micro_batches=4, still=True)) < 1e-6
    assert distance(whole, batch_gradient(name, micro_batches=5, still=True)) < 1e-6  # 12 samples in uneven parts


@pytest.mark.parametrize("name", METHODS)
def test_processes_change_nothing(name: str, two_processes: dict[str, Tensor]) -> None:
    whole = batch_gradient(name, micro_batches=1, still=True)
    assert distance(whole, select(two_processes, "plain", name)) < 1e-6
    assert distance(whole, select(two_processes, "micro", name)) < 1e-6
    uneven = batch_gradient(name, micro_batches=1, still=True, batch=11)  # 6 samples on one process, 5 on the other
    assert distance(uneven, select(two_processes, "uneven", name)) < 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_processes_share_batch_statistics(name: str, two_processes: dict[str, Tensor]) -> None:
    assert distance(batch_gradient(name, micro_batches=1, still=False), select(two_processes, "norms", name)) < 1e-6


@pytest.mark.parametrize("name", [name for name in METHODS if discover.methods()[name].coupled])
def test_a_gather_without_summed_backward_is_noticed(name: str, two_processes: dict[str, Tensor]) -> None:
    whole = batch_gradient(name, micro_batches=1, still=True)
    assert distance(whole, select(two_processes, "broken", name)) > 1e-2


def test_cached_gradients_count_batch_statistics_once() -> None:
    from support import build, feed

    from twinlens import distributed
    from twinlens.gradients import gradients

    cls = discover.methods()["simclr"]
    fabric = distributed.launch(1, "64-true")
    averages = []
    for passes in (1, 2):
        method = build(cls)
        model = fabric.setup_module(method)
        (chunks,) = feed(cls, micro_batches=2).run(0, 1)
        if passes == 1:  # by hand: each chunk once
            for chunk in chunks:
                model(chunk())
        else:
            gradients(fabric, model, chunks, 12)
        averages.append(torch.cat([b.flatten() for n, b in method.named_buffers() if "running" in n]))
    assert torch.equal(*averages)
