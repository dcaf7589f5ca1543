"""Weights and state on disk: atomic to write, checked when read, and nothing that could execute code.

A checkpoint is one safetensors file whose header carries a JSON text. It is written under a temporary name, flushed to
the disk and renamed, so that a process killed at any moment leaves either the old file or the new one.
"""

import errno
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from twinlens.errors import InputError

VERSION = 1
"""Of the layout of checkpoints; a file of another version is refused, never guessed at."""


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes `tensors` and the JSON-able `facts` to `path`, atomically. Raises OSError where the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    header = {"twinlens": json.dumps({"version": VERSION, **facts})}
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, temporary, header)
        temporary.chmod(0o666 & ~_umask())  # save_file makes it readable by its owner alone
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except SafetensorError as error:  # its text is all that is left of the system's own error
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else errno.EIO, f"{path} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a file that `write` made; InputError if it is cut short or of another version."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            facts = json.loads((file.metadata() or {}).get("twinlens", "{}"))
            if facts.get("version") != VERSION:
                raise InputError(
                    f"{path} has layout version {facts.get('version')}, this Twinlens reads version {VERSION}: "
                    f"use the release that wrote it, or start anew with another --out."
                )
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a whole checkpoint ({error}): delete it, and --resume continues from the one before."
        ) from error


def save(folder: Path, step: int, method: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Writes the whole state of training after `step` steps; the two newest checkpoints of the folder are kept."""
    state = optimizer.state_dict()["state"]
    tensors = {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
    for number, entries in state.items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in entries.items()}
    write(folder / f"{step:09d}.safetensors", tensors, {"step": step})
    for old in sorted(folder.glob("*.safetensors"))[:-2]:
        old.unlink()


def newest(folder: Path) -> Path | None:
    """The last checkpoint of a folder, if there is one."""
    return max(folder.glob("*.safetensors"), default=None)


def restore(path: Path, method: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> int:
    """Puts the state that `save` wrote back into place; returns the number of steps done."""
    tensors, facts = read(path)
    method.load_state_dict({n.removeprefix("method."): t for n, t in tensors.items() if n.startswith("method.")})
    if optimizer is None:
        return int(facts["step"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, entry = name.split(".", 2)
            state.setdefault(int(number), {})[entry] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(facts["step"])
