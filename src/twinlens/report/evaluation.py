"""The section of results: each beside its baselines, and whether its interval stands apart from theirs."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]


def evaluation_section(results: Sequence[Row] | None, command: str) -> str:
    """The results as bars from zero, with intervals; without results, the `command` that measures them."""
    if not results:
        return (
            "<h2>Evaluation</h2><p>Not measured yet. With labelled data, this command measures the encoder beside the "
            f'raw input and the same encoder untrained:</p><code class="command">{escape(command)}</code>'
        )
    about = (
        "Whiskers are intervals over the test items. A result stands apart from a baseline whose interval it misses."
    )
    return f'<h2>Evaluation</h2><p class="about">{about}</p>{"".join(map(_result, results))}'


def verdict(interval: Sequence[float], baseline: Sequence[float]) -> str:
    """Where an interval (low, high) lies against a baseline's: above, below, or not to be told apart."""
    if interval[0] > baseline[1]:
        return "above"
    return "below" if interval[1] < baseline[0] else "touching"


_SAID = {
    "above": ("apart", "result stands above"),
    "below": ("touching", "result stands below"),
    "touching": ("touching", "intervals meet"),
}


def _result(result: Row) -> str:
    baselines: Mapping[str, Row] = result.get("baselines", {})
    scale = _scale([result, *baselines.values()])
    rows = _row("this run", result, scale, "")
    for name, baseline in baselines.items():
        style, said = _SAID[verdict(result["interval"], baseline["interval"])]
        rows += _row(name, baseline, scale, f'<small class="{style}">{said}</small>')
    settings = ", ".join(f"{name} {value}" for name, value in result.get("settings", {}).items())
    return (
        f'<div class="result"><h3>{escape(result["name"])} <small>{escape(settings)}</small></h3>'
        f'<table class="bars">{rows}</table></div>'
    )


def _scale(rows: Sequence[Row]) -> tuple[float, float]:
    """The ends of the bars' axis: zero is on it, and one where the values look like shares."""
    ends = [end for row in rows for end in (row["value"], *row["interval"])]
    highest = max(0.0, *ends)
    return min(0.0, *ends), 1.0 if 0.1 < highest <= 1 else highest or 1.0


def _row(name: str, row: Row, scale: tuple[float, float], said: str) -> str:
    low, high = row["interval"]
    bar = _span("bar", min(0.0, row["value"]), max(0.0, row["value"]), scale)
    return (
        f'<tr><th scope="row">{escape(name)}</th>'
        f'<td><div class="track">{bar}{_span("interval", low, high, scale)}</div></td>'
        f"<td>{row['value']:.3f} <small>{low:.3f} to {high:.3f}</small>{said}</td></tr>"
    )


def _span(style: str, start: float, end: float, scale: tuple[float, float]) -> str:
    low, high = scale
    left, width = ((x / (high - low)) * 100 for x in (start - low, end - start))
    return f'<div class="{style}" style="left:{left:.2f}%;width:{width:.2f}%"></div>'
