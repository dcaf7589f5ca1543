"""twinlens list: what there is."""

import argparse
import inspect
from typing import Any

from rich.console import Console
from rich.table import Table

from twinlens import discover, recipes
from twinlens.data import known


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    argparse.ArgumentParser(prog="twinlens list", description="Methods, encoders, datasets and recipes.").parse_args(
        arguments
    )
    console = Console()
    console.print(_table("methods", discover.methods()))
    console.print(_table("encoders", discover.encoders()))
    console.print("[bold]datasets[/bold]  " + ", ".join(known.names()))
    console.print("[bold]recipes[/bold]   " + ", ".join(recipes.names()))


def _table(title: str, things: dict[str, Any]) -> Table:
    table = Table("name", "what", "source", title=title, title_justify="left", title_style="bold", box=None)
    for name, thing in things.items():
        module = inspect.getmodule(thing)
        first = inspect.getdoc(thing if title == "encoders" else module) or ""
        source = (inspect.getdoc(thing) or "").split("\n")[0] if title == "methods" else ""
        table.add_row(name, first.split("\n")[0].split(": ", 1)[-1], source)
    return table
