"""A number that is no share, such as an error or a distance, with its interval and what it stands beside."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Amount:
    """A number in units of its own, the lower the better, with its 95 % interval and all that it was measured with.

    `baselines` are the same measurement of something else, by name.
    """

    name: str
    value: float
    interval: tuple[float, float]
    settings: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, "Amount"] = field(default_factory=dict)

    def beside(self, baselines: Mapping[str, "Amount"]) -> "Amount":
        """A copy that stands beside `baselines`, in addition to those it has."""
        return replace(self, baselines={**self.baselines, **baselines})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.name} {self.value:.4g} ({low:.4g} to {high:.4g})"
