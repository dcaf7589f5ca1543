"""twinlens show NAME: a method or an encoder, its settings and where they come from."""

import argparse
import inspect
from typing import Any

from twinlens import discover
from twinlens.errors import unknown


def run(arguments: list[str]) -> None:
    """Runs the verb."""
    parser = argparse.ArgumentParser(prog="twinlens show", description=__doc__)
    parser.add_argument("name", help="a method's or an encoder's name (twinlens list)")
    name = parser.parse_args(arguments).name
    things: dict[str, Any] = {**discover.methods(), **discover.encoders()}
    if name not in things:
        raise unknown("name", name, things)
    thing = things[name]
    print(f"{name}: {inspect.getsourcefile(thing)}\n")
    print(inspect.getdoc(thing))
    if settings := discover.settings(thing):
        print("\nSettings and defaults:")
        for setting, default in settings.items():
            print(f"  --{setting} {default}")
