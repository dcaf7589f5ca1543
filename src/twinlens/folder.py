"""A run's folder while it is worked on: what may go on in it, and what is left behind where something goes wrong."""

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from twinlens import checkpoint
from twinlens.errors import InputError, NotLearning

_FREE = {("data", "given"), ("training", "stop_on_collapse")}  # what may differ where a run goes on
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """InputError unless a run that is to be resumed has the settings and the data it was started with."""
    for section in ("data", "method", "encoder", "views", "training"):
        for name in before[section].keys() | now[section].keys():
            old, new = before[section].get(name), now[section].get(name)
            if old != new and (section, name) not in _FREE:
                raise InputError(
                    f"{path} was started with {section} {name} = {old!r}, not {new!r}: resume it with the same, or "
                    f"choose another --out."
                )


@contextmanager
def working(fabric: Fabric, path: Path) -> Iterator[None]:
    """The run's folder while it is worked on; one without a checkpoint is not left behind by an error."""
    path.mkdir(parents=True, exist_ok=True)
    fabric.barrier()
    try:
        yield
    except (InputError, NotLearning, OSError) as error:
        kept = checkpoint.newest(path / "checkpoints")
        if kept is None and fabric.is_global_zero:
            shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _DISK:
            state = (
                f"continue from {kept.name} with --resume once there is room" if kept else "nothing of the run was kept"
            )
            raise InputError(f"the disk under {path} is full ({error}): {state}.") from error
        raise
