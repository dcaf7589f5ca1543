"""A number about codes, with what it is uncertain by and what chance and perfection would give."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964  # of the standard normal: 95 % lie within


@dataclass(frozen=True)
class Score:
    """A value as its paper defines it, its 95 % interval, what codes that know nothing get, and what perfect ones get.

    A score without an interval had nothing to vary: its interval is the value itself.
    """

    value: float
    interval: tuple[float, float]
    chance: float = 0.0
    best: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        low, high = self.interval
        beside = f"chance {self.chance:.2f}" + (f", best {self.best:.2f}" if self.best < 1 else "")
        return f"{self.value:.3f} ({low:.3f} to {high:.3f}; {beside})"


def around(value: float, error: float, *, chance: float = 0.0, best: float = 1.0) -> Score:
    """The score whose standard error is `error`, its interval cut to what is possible."""
    return Score(value, (max(0.0, value - _Z * error), min(best, value + _Z * error)), chance, best)


def share(right: int, count: int, *, chance: float = 0.0) -> Score:
    """`right` out of `count`, with the interval of Wilson 1927, which has a width at 0 and at `count` too."""
    p, z = right / count, _Z**2 / count
    middle = (p + z / 2) / (1 + z)
    half = (z * (p * (1 - p) + z / 4)) ** 0.5 / (1 + z)
    return Score(p, (max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))), chance)


def standard_error(statistic: Callable[[NDArray[np.int64]], float], count: int, *, seed: int) -> float:
    """The deviation of `statistic`, a function of row numbers (count,), over 100 bootstrap samples (Efron 1979).

    The deviation and not the quantiles: scores such as an information are biased upwards in samples with repetitions,
    by as much as they are in the sample itself.
    """
    generator = np.random.default_rng(seed)
    return float(np.std([statistic(generator.integers(count, size=count)) for _ in range(100)], ddof=1))
