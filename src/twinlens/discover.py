"""Names, classes and settings, read from folders and signatures: there is no list to keep by hand."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from torch import nn

from twinlens.batch import Maker
from twinlens.errors import unknown
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
    """Modality -> the class that makes its views, for every file in views/ that has one of which all can be set."""
    found = {name: own[0] for name, module in _modules("views").items() if (own := _own(module, Maker))}
    return {name: own for name, own in found.items() if all(_optional(own))}


def _optional(target: Callable[..., Any]) -> list[bool]:
    return [p.default is not p.empty for p in inspect.signature(target).parameters.values()]


_SIZES: dict[tuple[str, ...], str] = {("channels", "size"): "image", ("vocabulary", "length"): "text"}
"""What factories of encoders take first, and of which modality those are the sizes."""


@cache
def encoders(modality: str = "") -> dict[str, Callable[..., nn.Module]]:
    """Function name -> factory, for every public function of encoders/ that takes the sizes of a modality, or of any.

    Those are (channels, size, *, settings) for pictures and (vocabulary, length, *, settings) for texts.
    """
    found = {}
    for module in _modules("encoders").values():
        for name, value in vars(module).items():
            own = inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
            kind = _SIZES.get(tuple(inspect.signature(value).parameters)[:2]) if own else None
            if kind is not None and modality in ("", kind):
                found[name] = value
    return found


def sizes(factory: Callable[..., nn.Module]) -> tuple[str, ...]:
    """The names of what a factory of encoders takes first."""
    return tuple(inspect.signature(factory).parameters)[:2]


def method(name: str) -> type[Method]:
    """The method of that name, or InputError with the nearest names."""
    if name not in methods():
        raise unknown("method", name, methods())
    return methods()[name]


def encoder_kind(cls: type[Method]) -> type:
    """What a method's first argument is annotated with: nn.Module, or a protocol such as TokenEncoder."""
    kind: type = next(iter(get_type_hints(cls.__init__).values()))
    return kind


def counts_samples(cls: type[Method]) -> bool:
    """Whether a method has to be told how many samples the data has: by an argument `samples` without a default."""
    return "samples" in inspect.signature(cls).parameters


def settings(target: Callable[..., Any]) -> Settings:
    """The settings of a class or function: its keyword-only arguments that have a default, and the defaults."""
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


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
