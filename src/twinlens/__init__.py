"""Twinlens: unlabelled data of any kind into an encoder that is good at things.

    import twinlens as tl
    run = tl.pretrain("photos/", method="simclr", epochs=100)
    print(run.evaluate("labelled/"))

Every method is four steps: create pairs, encode, compare, update (`twinlens.method.Method`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinlens.batch import Batch, Maker, Samples, Views
    from twinlens.comparison.compare import compare
    from twinlens.errors import InputError
    from twinlens.fit import pretrain
    from twinlens.method import Method
    from twinlens.run import Run, load

_PLACES = {
    "Batch": "batch",
    "InputError": "errors",
    "Maker": "batch",
    "Method": "method",
    "Run": "run",
    "Samples": "batch",
    "Views": "batch",
    "compare": "comparison.compare",
    "load": "run",
    "pretrain": "fit",
}

__all__ = ["Batch", "InputError", "Maker", "Method", "Run", "Samples", "Views", "compare", "load", "pretrain"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import twinlens` does not wait for torch."""
    if name not in _PLACES:
        raise AttributeError(f"module 'twinlens' has no attribute {name!r}")
    return getattr(import_module(f"twinlens.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
