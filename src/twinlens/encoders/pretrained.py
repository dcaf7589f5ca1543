"""Models that others have published: their packages, which are extras, and their weights, which must not run code."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from twinlens.errors import InputError


def extra(package: str, name: str) -> ModuleType:
    """The package of that name, or an InputError that says which extra of Twinlens brings it."""
    try:
        return import_module(package)
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit the installed torch
        raise InputError(f'{package} cannot be imported ({error}): pip install "twinlens[{name}]".') from error


def transformer(name: str, **settings: Any) -> nn.Module:
    """The model of transformers at `name`, a name of the hub or a local folder; InputError where there is none.

    Weights are read from safetensors alone, and no code that a repository brings is run.
    """
    transformers = extra("transformers", "hub")
    refuse_pickles(Path(name))
    try:
        model: nn.Module = transformers.AutoModel.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, **settings
        )
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: weights of other shapes than it says
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"no model of transformers at {name!r}, expected a hub name or a local folder: {reason}"
        ) from error
    return model


def refuse_pickles(folder: Path) -> None:
    """InputError for a local folder whose weights are pickled: to read them is to run what they say."""
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has pytorch_model.bin but no model.safetensors, and pickled weights can run any code: where you "
            f"trust it, convert it by AutoModel.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})."
        )
