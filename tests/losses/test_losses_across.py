"""Every loss on three processes with unequal shares, a queue and a learnt temperature: as on one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from across import VARIANTS, two_steps
from safetensors.torch import load_file
from torch import Tensor


@pytest.fixture(scope="module")
def three_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    out = tmp_path_factory.mktemp("across") / "steps.safetensors"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).with_name("across.py")
    done = subprocess.run([*command, script, out], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return load_file(out)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_gradient_is_that_of_one_process(variant: str, three_processes: dict[str, Tensor]) -> None:
    temperature, _ = VARIANTS[variant]
    alone = two_steps(temperature)
    assert {"0/temperature.log_scale", "1/bias", "1/loss", "queue"} < alone.keys()
    for name, expected in alone.items():
        found = three_processes[f"{variant}/{name}"]
        assert found.isfinite().all(), name
        if name == "ids":
            assert torch.equal(found, expected)
            continue
        assert expected.norm() > 0, name
        assert float(found.norm() / expected.norm()) == pytest.approx(1, abs=1e-9), name
        cosine = (found * expected).sum() / (found.norm() * expected.norm())
        assert float(cosine) == pytest.approx(1, abs=1e-9), name
