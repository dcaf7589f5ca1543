"""Pretext tasks: views that know their own answer. Adding a task is adding a function here."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from twinlens.batch import Views
from twinlens.errors import unknown

Made = tuple[tuple[Tensor, ...], Tensor]
"""The views that are asked about, and the answer (N,), or (N, A) where there are A of them, each below `answers`."""


class Task(NamedTuple):
    """A question about a sample.

    `views` is what it is made of, `shown` how many views it shows, `answers` how many answers there are, `parts` how
    many it asks for at once (A), and `ask` turns views and each sample's key (N,) into those shown and the answer.
    """

    views: Views
    shown: int
    answers: int
    ask: Callable[[tuple[Tensor, ...], Tensor], Made]
    parts: int = 1


TASKS: dict[str, Task] = {}


def find(name: str) -> Task:
    """The task of that name, or InputError with the nearest names."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
