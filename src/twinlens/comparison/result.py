"""What a comparison comes to: its runs, their rows, and all that has to be said beside them."""

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console, Group

from twinlens import checkpoint
from twinlens.comparison import ranking
from twinlens.comparison.plan import Plan, Request
from twinlens.comparison.record import Record
from twinlens.report import comparison as report

FILE = "comparison.json"


@dataclass(frozen=True)
class Comparison:
    """The runs so far of a comparison in the folder `path`; `unlabelled` says why none has figures with labels."""

    path: Path
    data: Mapping[str, Any]
    request: Request
    plans: Mapping[str, Plan]
    unlabelled: str = ""
    records: tuple[Record, ...] = ()

    @property
    def rows(self) -> list[report.Row]:
        """A row for each method, means over its seeds, the best first."""
        return ranking.rows(self.records, self.request.methods)

    @property
    def agreement(self) -> float | None:
        """Spearman's correlation of the ranks with labels and without."""
        return ranking.agreement(self.rows)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with every setting, run and version."""
        return {
            "data": dict(self.data),
            "request": asdict(self.request),
            "plans": {method: plan.as_dict() for method, plan in self.plans.items()},
            "rows": [asdict(row) for row in self.rows],
            "agreement": self.agreement,
            "notes": list(_notes(self)),
            "records": [record.as_dict() for record in self.records],
            "versions": {name: version(name) for name in ("twinlens", "torch")} | {"python": platform.python_version()},
        }

    def save(self) -> None:
        """Writes comparison.json, atomically."""
        checkpoint.write_text(self.path / FILE, json.dumps(self.as_dict(), indent=2))

    def sheet(self) -> report.Sheet:
        """What the table and the plot are made of."""
        views, minutes, seeds = self.request.views, self.request.minutes, self.request.seeds
        each = f"{views:,} views" if views else f"{minutes:g} minutes of training"
        return report.Sheet(
            f"{self.data['name']}, {each} for every run, {seeds} seed{'s' if seeds > 1 else ''}",
            self.rows,
            raw=ranking.raw(self.records),
            untrained=ranking.untrained(self.records),
            figure=ranking.FIGURE,
            score=ranking.SCORE,
            notes=list(_notes(self)),
        )

    def table(self) -> Group:
        """The methods beside the raw input and the untrained encoders, for a console of rich."""
        return report.table(self.sheet())

    def __str__(self) -> str:
        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            console.print(self.table())
        return captured.get()


def _notes(comparison: Comparison) -> Iterator[str]:
    if comparison.unlabelled:
        yield f"no rank by labels: {comparison.unlabelled}"
    elif any(row.accuracy for row in comparison.rows):
        yield "bold: above the raw input and the untrained encoder, intervals apart, in every run"
        yield "~: not so; a gain inside the noise is not a gain, and neither is a rank between intervals that meet"
    if comparison.agreement is not None:
        count = sum(None not in (row.by_labels, row.without_labels) for row in comparison.rows)
        yield f"agreement of both ranks (Spearman): {comparison.agreement:+.2f} over {count} methods"
    if len(ranking.encoders(comparison.records)) > 1:
        yield "a rank without labels holds between equal encoders: wider embeddings have room for more"
    yield from _settings(comparison)
    for record in comparison.records:
        name = f"{record.method}, seed {record.seed}" if comparison.request.seeds > 1 else record.method
        if record.error:
            yield f"{name} was not {'evaluated' if record.trained else 'trained'}: {record.error}"
    for name, note in dict.fromkeys((record.method, note) for record in comparison.records for note in record.notes):
        yield f"{name}: {note}"


def _settings(comparison: Comparison) -> Iterator[str]:
    plans = {method: comparison.plans[method] for method in comparison.request.methods}
    with_recipe, without = ([method for method in plans if plans[method].recipe is had] for had in (True, False))
    if with_recipe:
        yield f"settings of the recipe {comparison.request.recipe}: {', '.join(with_recipe)}"
    if without:
        yield f"settings at their defaults, not tuned: {', '.join(without)}"
