"""Names, classes and settings, read from folders and signatures: there is no list to keep by hand."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from twinlens.batch import Maker
from twinlens.errors import InputError, unknown
from twinlens.method import Method

Settings = dict[str, Any]


def _modules(folder: str) -> dict[str, ModuleType]:
    files = sorted((Path(__file__).parent / folder).glob("[!_]*.py"))
    return {file.stem: import_module(f"twinlens.{folder}.{file.stem}") for file in files}


def _own(module: ModuleType, kind: type) -> list[type]:
    """The concrete subclasses of `kind` that a module defines itself."""
    found = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, kind))
    return [value for value in found if value.__module__ == module.__name__ and not inspect.isabstract(value)]


@cache
def methods() -> dict[str, type[Method]]:
    """File name -> method, for every file in methods/."""
    return {name: own[0] for name, module in _modules("methods").items() if (own := _own(module, Method))}


@cache
def makers() -> dict[str, type[Maker]]:
    """Modality -> the class that makes its views, for every file in views/ that has one."""
    return {name: own[0] for name, module in _modules("views").items() if (own := _own(module, Maker))}


@cache
def encoders() -> dict[str, Callable[..., nn.Module]]:
    """Function name -> encoder factory, for every public function of encoders/ that takes (channels, size, *, settings)."""
    found = {}
    for module in _modules("encoders").values():
        for name, value in vars(module).items():
            own = inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
            if own and list(inspect.signature(value).parameters)[:2] == ["channels", "size"]:
                found[name] = value
    return found


def method(name: str) -> type[Method]:
    """The method of that name, or InputError with the nearest names."""
    if name not in methods():
        raise unknown("method", name, methods())
    return methods()[name]


def settings(target: Callable[..., Any]) -> Settings:
    """The settings of a class or function: its keyword-only arguments and their defaults."""
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def assign(given: Mapping[str, Any], targets: Mapping[str, Iterable[str]]) -> dict[str, Settings]:
    """Sorts flat settings under the target that knows the name; InputError, with the nearest names, if none does."""
    sorted_: dict[str, Settings] = {target: {} for target in targets}
    for name, value in given.items():
        owners = [target for target, names in targets.items() if name in names]
        if not owners:
            raise unknown("setting", name, {name for names in targets.values() for name in names})
        assert len(owners) == 1, f"{name} is a setting of {owners}"
        sorted_[owners[0]][name] = value
    return sorted_


def summary(target: Any) -> str:
    """The first line of a docstring, for tables."""
    text = inspect.getdoc(target) or ""
    return text.split("\n", 1)[0]


def demand(condition: object, message: str) -> None:
    """Raises InputError with the message unless the condition holds."""
    if not condition:
        raise InputError(message)
