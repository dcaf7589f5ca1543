"""Tuned runs: a file for each dataset, in it a function for each method that returns a `Run`."""

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from twinlens.errors import unknown
from twinlens.run import Run


def names() -> list[str]:
    """The recipes there are: the files of this folder."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def runs(recipe: str) -> dict[str, Callable[[], Run]]:
    """The methods that a recipe has, each with what makes its run; InputError with the nearest names of recipes."""
    if recipe not in names():
        raise unknown("recipe", recipe, names())
    module = import_module(f"twinlens.recipes.{recipe}")
    return {
        name: value
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }


def find(recipe: str, method: str) -> Run:
    """The run that a recipe names for a method, or InputError with the nearest names."""
    found = runs(recipe)
    if method not in found:
        raise unknown(f"method in recipe {recipe}", method, found)
    return found[method]()
