"""Tuned runs: a file for each dataset, in it a function for each method that returns a `Run`."""

import inspect
from importlib import import_module
from pathlib import Path

from twinlens.errors import unknown
from twinlens.run import Run


def names() -> list[str]:
    """The recipes there are: the files of this folder."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def find(recipe: str, method: str) -> Run:
    """The run that a recipe names for a method, or InputError with the nearest names."""
    if recipe not in names():
        raise unknown("recipe", recipe, names())
    module = import_module(f"twinlens.recipes.{recipe}")
    runs = {
        name: value for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")
    }
    if method not in runs:
        raise unknown(f"method in recipe {recipe}", method, runs)
    found: Run = runs[method]()
    return found
