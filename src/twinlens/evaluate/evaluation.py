"""An evaluation: results over one labelled dataset, and how they are read, printed and kept."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from twinlens.evaluate.result import Result


@dataclass(frozen=True)
class Evaluation:
    """What came out: `results` in the protocol's order, each with its baselines, over the test part of `data`."""

    data: str
    fingerprint: str
    results: tuple[Result, ...]

    def __getitem__(self, name: str) -> Result:
        return {result.name: result for result in self.results}[name]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with every setting."""
        return {
            "data": self.data,
            "fingerprint": self.fingerprint,
            "results": [result.as_dict() for result in self.results],
        }

    def save(self, path: Path) -> None:
        """Adds this evaluation to a JSON list, in the place of an earlier one over the same data, and last."""
        earlier = json.loads(path.read_text()) if path.exists() else []
        kept = [item for item in earlier if item["fingerprint"] != self.fingerprint]
        path.write_text(json.dumps([*kept, self.as_dict()], indent=2))

    def table(self) -> Table:
        """One row for each result: this encoder and its baselines, in percent with 95 % intervals."""
        names = list(self.results[0].baselines)
        table = Table(title=f"test accuracy on {self.data}, % [95 % interval]", title_justify="left")
        for column in ("", "this encoder", *names):
            table.add_column(column, justify="left" if not column else "right")
        for result in self.results:
            best = all(result.interval[0] > result.baselines[name].interval[1] for name in names)
            mine = f"[bold]{percent(result)}[/bold]" if best else percent(result)
            table.add_row(result.name, mine, *(percent(result.baselines[name]) for name in names))
        table.caption = "bold: above every baseline, intervals apart"
        return table

    def __str__(self) -> str:
        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            console.print(self.table())
        return captured.get()


def percent(result: Result) -> str:
    """A result as text: value and interval in percent."""
    low, high = result.interval
    return f"{100 * result.value:.1f} \\[{100 * low:.1f}, {100 * high:.1f}]"
