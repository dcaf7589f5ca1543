"""Several methods side by side: a table for the terminal, and one plot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

NAMES = {"knn": "kNN"}
SHOWN = {"linear probe": "linear", "10 per class": "10 per\nclass", "100 per class": "100 per\nclass"}
WATCHED = {"spread": ".2f"}  # as SHOWN, beside what ranks
BROKEN = {"uniformity": "uni-\nformity"}  # headings that would be wider than their columns
INK, GREY, BLUE, ORANGE = "#222222", "#8c8c8c", "#0072b2", "#d55e00"  # told apart by the colour-blind (Okabe and Ito)
_RAW: Mapping[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (5, 3))}
_UNTRAINED: Mapping[str, Any] = {"color": ORANGE, "linewidth": 2, "linestyle": (0, (1, 1))}


@dataclass(frozen=True)
class Share:
    """A share of right answers: the mean over seeds, the lowest and the highest end of their 95 % intervals."""

    value: float
    low: float
    high: float


Shares = Mapping[str, Share]


@dataclass(frozen=True)
class Row:
    """A method: means over those `runs` of it that were finished; places count from 1.

    `accuracy` holds figures by name, none without labels; `apart` says whether, in every run, the one that ranks stands
    above the baselines, intervals apart. `encoder` is the name of its untrained encoder in the sheet. `watched` are
    scores of held-out samples without labels, `verdict` the monitor's word. `memory` is in MiB, of
    the GPU where there is one.
    """

    name: str
    runs: int = 0
    encoder: str = ""
    accuracy: Shares = field(default_factory=dict)
    apart: bool = False
    by_labels: int | None = None
    without_labels: int | None = None
    watched: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""
    epochs: float = 0.0
    views: float = 0.0
    seconds: float = 0.0
    memory: float = 0.0


@dataclass(frozen=True)
class Sheet:
    """What table and plot are made of: the rows in order, and what they have to beat, `untrained` by encoder.

    `figure` names the accuracy that ranks with labels, `score` what ranks without.
    """

    title: str
    rows: Sequence[Row]
    raw: Shares
    untrained: Mapping[str, Shares]
    figure: str
    score: str
    notes: Sequence[str] = ()


def table(sheet: Sheet) -> Group:
    """Both ranks and the figures beside the baselines, where there are labels; then what needs none, and the notes."""
    tables = [_labelled(sheet), _unlabelled(sheet)] if sheet.raw else [_unlabelled(sheet)]
    return Group(
        Text(sheet.title, "bold"), *(line for one in tables for line in ("", one)), "", *map(Text, sheet.notes)
    )


def _labelled(sheet: Sheet) -> Table:
    shown = [name for name in SHOWN if name in sheet.raw]
    headings = (
        "rank by\nlabels",
        "without\nlabels",
        f"{_name(sheet.figure)}, %\n\\[95 % interval]",
        *(SHOWN[other] for other in shown),
    )
    made = _table(headings)
    baselines = {"raw input": sheet.raw} | {f"{name}, untrained": one for name, one in sheet.untrained.items()}
    for name, shares in baselines.items():
        made.add_row(
            escape(name), "", "", _interval(shares[sheet.figure], " "), *(_percent(shares, other) for other in shown)
        )
    for row in sheet.rows:
        figures = (_ranking(row, sheet.figure), *(_percent(row.accuracy, other) for other in shown))
        made.add_row(row.name, _place(row.by_labels), _place(row.without_labels), *figures)
    return made


def _unlabelled(sheet: Sheet) -> Table:
    headings = (
        BROKEN.get(sheet.score, sheet.score),
        *(_name(other) for other in WATCHED),
        "verdict",
        "epochs",
        "minutes",
        "views/s",
        "MiB",
    )
    made = _table(headings if sheet.raw else ("rank without\nlabels", *headings))
    for row in sheet.rows:
        place = () if sheet.raw else (_place(row.without_labels),)
        made.add_row(row.name, *place, *(_costs(row, sheet.score) if row.runs else ("failed",)))
    return made


def _table(headings: Sequence[str]) -> Table:
    made = Table("", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        made.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    return made


def _name(name: str) -> str:
    return NAMES.get(name, name)


def _place(place: int | None) -> str:
    return "" if place is None else str(place)


def _percent(shares: Shares, name: str) -> str:
    return f"{100 * shares[name].value:.1f}" if name in shares else ""


def _interval(share: Share, mark: str) -> str:
    return f"{100 * share.value:.1f} \\[{100 * share.low:.1f}, {100 * share.high:.1f}] {mark}"


def _ranking(row: Row, figure: str) -> str:
    """Bold where it stands apart from its baselines, else with a sign that a text file keeps."""
    if figure not in row.accuracy:
        return ""
    return f"[bold]{_interval(row.accuracy[figure], ' ')}[/bold]" if row.apart else _interval(row.accuracy[figure], "~")


def _costs(row: Row, score: str) -> Iterator[str]:
    for name, form in {score: ".2f", **WATCHED}.items():
        yield f"{row.watched[name]:{form}}" if name in row.watched else ""
    yield row.verdict.replace(" ", "\n")
    yield from (f"{row.epochs:.3g}", f"{row.seconds / 60:.1f}", f"{row.views / row.seconds:,.0f}", f"{row.memory:,.0f}")


def draw(path: Path, sheet: Sheet) -> None:
    """Writes the plot: a line for each method, the first on top, and a panel for each thing to weigh it by."""
    labelled = bool(sheet.raw)
    figure = Figure(figsize=(11 if labelled else 7, 1.6 + 0.45 * len(sheet.rows)), layout="constrained")
    panels = figure.subplots(1, 3 + labelled, sharey=True, width_ratios=[2.2] * labelled + [1, 1, 1])
    panels[0].set_yticks(range(len(sheet.rows)), [row.name for row in sheet.rows])
    panels[0].set_ylim(len(sheet.rows) - 0.4, -0.6)
    done = {place: row for place, row in enumerate(sheet.rows) if row.runs}
    if labelled:
        _accuracy(panels[0], sheet)
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, labelcolor=INK)
    scores = {place: row.watched[sheet.score] for place, row in done.items() if sheet.score in row.watched}
    _bars(panels[-3], f"{_name(sheet.score)}, without labels", scores, ".2f")
    _bars(panels[-2], "minutes of training", {place: row.seconds / 60 for place, row in done.items()}, ".1f")
    _bars(panels[-1], "peak memory, MiB", {place: row.memory for place, row in done.items()}, ",.0f")
    for place in range(len(sheet.rows)):
        if place not in done:
            panels[0].text(0.01, place, "failed", transform=panels[0].get_yaxis_transform(), color=GREY, va="center")
    for axes in panels:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(GREY)
        axes.tick_params(color=GREY, labelcolor=INK, left=False)
    figure.savefig(path, dpi=150)


def _accuracy(axes: Axes, sheet: Sheet) -> None:
    """A point with its interval for each method, between a line of the raw input and those of untrained encoders."""
    axes.set_title(f"{_name(sheet.figure)} accuracy, % [95 % interval]", loc="left", fontsize="medium", color=INK)
    axes.axvline(100 * sheet.raw[sheet.figure].value, **_RAW)
    for place, row in enumerate(sheet.rows):
        if sheet.figure not in row.accuracy:
            continue
        untrained = 100 * sheet.untrained[row.encoder][sheet.figure].value
        axes.plot([untrained] * 2, [place - 0.5, place + 0.5], **_UNTRAINED)
        share, colour = row.accuracy[sheet.figure], BLUE if row.apart else GREY
        axes.plot([100 * share.low, 100 * share.high], [place, place], color=colour, linewidth=2.5)
        axes.plot(100 * share.value, place, "o", color=colour, markersize=7)
        at, halo = (100 * share.value, place), {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.annotate(f"{at[0]:.1f}", at, (0, 8), textcoords="offset points", ha="center", color=INK, bbox=halo)


def _legend() -> list[Line2D]:
    point: Mapping[str, Any] = {"marker": "o", "markersize": 7, "linewidth": 2.5}
    return [
        Line2D([], [], label="raw input", **_RAW),
        Line2D([], [], label="same encoder, untrained", **_UNTRAINED),
        Line2D([], [], label="stands above both, intervals apart", color=BLUE, **point),
        Line2D([], [], label="does not", color=GREY, **point),
    ]


def _bars(axes: Axes, title: str, values: Mapping[int, float], form: str) -> None:
    axes.set_title(title, loc="left", fontsize="medium", color=INK)
    axes.barh(list(values), list(values.values()), height=0.5, color=GREY, alpha=0.4)
    for place, value in values.items():
        axes.annotate(f"{value:{form}}", (0, place), (4, 0), textcoords="offset points", va="center", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(3))
