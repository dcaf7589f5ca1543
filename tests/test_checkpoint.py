"""Checkpoints: whole or not there, and everything of the state comes back."""

from pathlib import Path

import pytest
import torch
from torch import nn

from twinlens import checkpoint
from twinlens.errors import InputError
from twinlens.update.optimizers import optimizer


def trained(name: str, steps: int, seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    opt = optimizer(name, module, rate=0.1, decay=0.01)  # type: ignore[arg-type]
    take(module, opt, steps)
    return module, opt


def take(module: nn.Module, opt: torch.optim.Optimizer, steps: int) -> None:
    x = torch.arange(32.0).view(8, 4) / 32
    for _ in range(steps):
        opt.zero_grad()
        (module(x) - 1).square().mean().backward()
        opt.step()


@pytest.mark.parametrize("name", ["adamw", "lars", "sgd"])
def test_training_goes_on_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    straight, _ = trained(name, 7)
    module, opt = trained(name, 3)
    checkpoint.save(tmp_path, 3, module, opt)
    other, other_opt = trained(name, 0, seed=9)
    path = checkpoint.newest(tmp_path)
    assert path is not None and checkpoint.restore(path, other, other_opt) == 3
    take(other, other_opt, 4)
    for a, b in zip(straight.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_two_newest_are_kept_and_nothing_temporary_is_left(tmp_path: Path) -> None:
    module, opt = trained("adamw", 1)
    for step in (1, 20, 300):
        checkpoint.save(tmp_path, step, module, opt)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["000000020.safetensors", "000000300.safetensors"]


@pytest.mark.parametrize("size", [0, 5, 100, -10])
def test_a_checkpoint_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    module, opt = trained("adamw", 1)
    checkpoint.save(tmp_path, 1, module, opt)
    path = checkpoint.newest(tmp_path)
    assert path is not None
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"not a whole checkpoint.*delete it"):
        checkpoint.restore(path, module, opt)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    checkpoint.write(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})
    monkeypatch.undo()
    with pytest.raises(InputError, match="version 99"):
        checkpoint.read(tmp_path / "x.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.write(path, {"a": torch.zeros(1)}, {"round": 1})
    monkeypatch.setattr(checkpoint, "_flush", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, {"a": torch.ones(1)}, {"round": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]
    assert checkpoint.read(path)[1]["round"] == 1
