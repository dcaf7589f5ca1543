"""What happened so far: rows in metrics.jsonl, and one line that says it while it happens."""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from twinlens.errors import NotLearning
from twinlens.monitor.verdict import COLLAPSED, DIVERGED, LEARNING, Verdict, verdict

Row = dict[str, Any]
CHOICE = "gap"
"""Of what looks tell, the score by which one is chosen without labels; the least regret of those in selection.py."""
ROWS = 200
"""Rows that a whole run leaves, however long it is: enough for a curve, and few enough to read at once."""


def read(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; a last line that a killed process left unfinished is dropped."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class Journal:
    """Keeps the metrics of a run of `total` steps, from step `start` on; a context manager that ends the line.

    Each row holds step, progress, views (made so far), seconds (of training so far), loss (mean since the last row),
    rate, views_per_second, waited (share of time spent waiting for samples), and what was watched at that step.
    """

    def __init__(
        self, path: Path, *, title: str, total: int, start: int, views_per_step: int, silent: bool = False
    ) -> None:
        self.path, self.total, self.views_per_step, self.silent = path, total, views_per_step, silent
        self.rows = [row for row in read(path) if row["step"] <= start]
        self.every = max(1, math.ceil(total / ROWS))
        self._watched: Row = {}
        self._losses: list[Tensor] = []
        self._seconds = self.rows[-1]["seconds"] if self.rows else 0.0
        self._mark = time.perf_counter()
        self._waited = 0.0
        self._line = _Line(title, total, start)
        if not self.rows:
            self.rows = [{"step": 0, "progress": 0.0, "views": 0, "seconds": 0.0}]
        self._rewrite()

    def __enter__(self) -> Self:
        if not self.silent:
            self._line.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.stop()

    def due(self, step: int) -> bool:
        """Whether a row is written at this step, looked at or not."""
        return step % self.every == 0 or step == self.total

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not training: watching, saving."""
        self._seconds += time.perf_counter() - self._mark
        yield
        self._mark = time.perf_counter()

    def step(self, step: int, loss: Tensor, rate: float, waited: float, *, row: bool = False) -> None:
        """Notes a step, in a row of its own if one is due or asked for (`row`).

        `waited` is the seconds spent waiting for samples since the run began or went on.
        """
        self._losses.append(loss)
        if row or self.due(step):
            self._write(step, rate, waited)
        if not self.silent:
            self._line.show(step, self.rows[-1] | self._watched)

    def watch(self, values: Mapping[str, float]) -> None:
        """Adds what a look told to the last row, and the verdict on the run so far; says so when that turns bad."""
        before = self.verdict
        self.rows[-1].update(values)
        found = self.verdict
        self._watched = dict[str, Any](values)
        if found:
            self._watched["verdict"] = self.rows[-1]["verdict"] = found.word
        self._rewrite()
        if found and found.word != LEARNING and (before is None or before.word != found.word) and not self.silent:
            self._line.say(f"{found.word} by step {self.rows[-1]['step']:,}: {found.cause} {found.remedy}")

    @property
    def verdict(self) -> Verdict | None:
        """On the run so far; None before there is enough to judge by."""
        return verdict(self.rows)

    @property
    def failing(self) -> str:
        """Why the run should end, if the last two looks both say that it has collapsed or diverged."""
        words = [row["verdict"] for row in self.rows if "verdict" in row][-2:]
        found = self.verdict
        if found is None or len(words) < 2 or not set(words) <= {*COLLAPSED, DIVERGED}:
            return ""
        return f"{found.word}: {found.cause} {found.remedy}"

    @property
    def leads(self) -> bool:
        """Whether the last look is the best so far by `CHOICE`; false where a method has no such score."""
        values = [row[CHOICE] for row in self.rows if CHOICE in row]
        return CHOICE in self.rows[-1] and self.rows[-1][CHOICE] >= max(values)

    def _rewrite(self) -> None:
        if not self.silent:
            temporary = self.path.with_name(f".{self.path.name}")
            temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
            temporary.replace(self.path)

    def _write(self, step: int, rate: float, waited: float) -> None:
        loss = float(torch.stack(self._losses).mean())
        seconds = self._seconds + time.perf_counter() - self._mark
        passed = max(seconds - self.rows[-1]["seconds"], 1e-9)
        row = {
            "step": step,
            "progress": step / self.total,
            "views": step * self.views_per_step,
            "seconds": seconds,
            "loss": loss,
            "rate": rate,
            "views_per_second": len(self._losses) * self.views_per_step / passed,
            "waited": min(1.0, (waited - self._waited) / passed),
        }
        self._losses, self._waited = [], waited
        self.rows.append(row)
        if not self.silent:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        if not math.isfinite(loss):
            raise NotLearning(
                f"the loss became {loss} by step {step} of {self.total}: try a third of the learning rate "
                f"(--rate {rate / 3:.2g}) or clip the gradient (--clip 1)."
            )


class _Line:
    """The progress line: redrawn in place on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self, title: str, total: int, start: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.percentage:>3.0f} %"))
        self.live = console.is_terminal
        self.progress = Progress(*columns, TextColumn("{task.fields[facts]}"), TimeRemainingColumn(), console=console)
        self.task = self.progress.add_task(title, total=total, completed=start, facts="")
        self.title, self.total, self.first = title, total, start
        self._began = self._said = time.monotonic()

    def start(self) -> None:
        if self.live:
            self.progress.start()

    def stop(self) -> None:
        if self.live:
            self.progress.stop()

    def say(self, text: str) -> None:
        """A line of its own, above the progress."""
        self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, step: int, row: Mapping[str, Any]) -> None:
        if self.live:
            self.progress.update(self.task, completed=step, facts=facts(row))
        elif (now := time.monotonic()) - self._said >= 10 or step == self.total:
            left = (now - self._began) / (step - self.first) * (self.total - step)
            line = f"{self.title} {step / self.total:4.0%}  {facts(row)}  {left:.0f} s left"
            sys.stderr.write(line + "\n")
            self._said = now


def facts(row: Mapping[str, Any]) -> str:
    """A row in one line, for people."""
    parts = {
        "loss": "loss {:.3f}",
        "views_per_second": "{:,.0f} views/s",
        "waited": "waiting {:.0%}",
        "spread": "spread {:.2f}",
        "rank": "rank {:.0f}",
        "knn": "kNN {:.1%}",
        "verdict": "{}",
    }
    return "  ".join(form.format(row[name]) for name, form in parts.items() if name in row)
