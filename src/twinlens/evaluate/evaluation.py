"""An evaluation: results over one labelled dataset, and how they are read, printed and kept."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from twinlens.evaluate.result import Result


@dataclass(frozen=True)
class Evaluation:
    """What came out: `results` in the protocol's order, each with its baselines, over the test part of `data`.

    `protocol` says how they were measured: which measures, how many labels, how the data was split, what was chosen on
    what; as "part", over what of the data, where that is not the test part.
    """

    data: str
    fingerprint: str
    results: tuple[Result, ...]
    protocol: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Result:
        return {result.name: result for result in self.results}[name]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with every setting."""
        return {
            "data": self.data,
            "fingerprint": self.fingerprint,
            "protocol": dict(self.protocol),
            "results": [result.as_dict() for result in self.results],
        }

    def save(self, path: Path) -> None:
        """Adds this evaluation to a JSON list, in the place of an earlier one over the same data, and last."""
        earlier = json.loads(path.read_text()) if path.exists() else []
        kept = [item for item in earlier if item["fingerprint"] != self.fingerprint]
        path.write_text(json.dumps([*kept, self.as_dict()], indent=2))

    def table(self) -> Table:
        """One row for each result: this encoder and its baselines, in percent with 95 % intervals."""
        names = list(dict.fromkeys(name for result in self.results for name in result.baselines))
        part = self.protocol.get("part", "the test part")
        table = Table(title=f"on {part} of {self.data}, %, and 95 % intervals", title_justify="left")
        for column in ("", "this encoder", *names):
            table.add_column(column.replace(" ", "\n"), justify="left" if not column else "right")
        for result in self.results:
            best = all(result.interval[0] > baseline.interval[1] for baseline in result.baselines.values())
            mine = f"[bold]{percent(result)}[/bold]" if best else percent(result)
            beside = (percent(result.baselines[name]) if name in result.baselines else "" for name in names)
            table.add_row(result.name, mine, *beside)
        table.caption = "bold: above every baseline, intervals apart; what is not bold is no gain"
        return table

    def __str__(self) -> str:
        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            console.print(self.table())
        return captured.get()


def percent(result: Result) -> str:
    """A result as two lines of text: its value and its interval, in percent."""
    low, high = result.interval
    return f"{100 * result.value:.1f}\n[dim]{100 * low:.1f}-{100 * high:.1f}[/dim]"
