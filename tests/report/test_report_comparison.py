"""The table and the plot of a comparison: order, marks, what is missing, and the width of a terminal."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from twinlens.report.comparison import Row, Share, Sheet, draw, table


def row(name: str, knn: float, *, apart: bool = False, place: int = 1, encoder: str = "small") -> Row:
    accuracy = {"knn": Share(knn, knn - 0.01, knn + 0.01), "linear probe": Share(0.9, 0.89, 0.91)}
    return Row(
        name, runs=1, encoder=encoder, accuracy=accuracy, apart=apart, by_labels=place, without_labels=4 - place,
        watched={"uniformity": -1.5, "rank": 12.34, "spread": 0.5}, verdict="learning", epochs=7.8,
        views=120_000, seconds=60.0, memory=1234.5,
    )  # fmt: skip


RAW = {"knn": Share(0.85, 0.84, 0.86), "linear probe": Share(0.8, 0.79, 0.81)}
SHEET = Sheet(
    "digits, 120,000 views",
    [row("vicreg", 0.9, apart=True), row("simclr", 0.86, place=2), Row("byol")],
    raw=RAW,
    untrained={"small": RAW | {"knn": Share(0.8, 0.79, 0.81)}},
    figure="knn",
    score="uniformity",
    notes=["byol was not trained: [red]the loss became nan[/red]"],
)


def printed(sheet: Sheet, width: int = 80, colour: bool = False) -> str:
    console = Console(width=width, force_terminal=colour, color_system="standard" if colour else None)
    with console.capture() as captured:
        console.print(table(sheet))
    return captured.get()


def unlabelled(sheet: Sheet) -> Sheet:
    rows = [replace(one, accuracy={}, by_labels=None) for one in sheet.rows]
    return replace(sheet, rows=rows, raw={}, untrained={})


def test_rows_keep_their_order_below_the_baselines_and_both_ranks_are_shown() -> None:
    lines = printed(SHEET).splitlines()
    names = [line.split("  ")[0] for line in lines if line[:1].isalpha()]
    assert names[1:6] == ["raw input", "small, untrained", "vicreg", "simclr", "byol"]
    (first,) = (line for line in lines if line.startswith("vicreg") and "[" in line)
    assert first.split() == ["vicreg", "1", "3", "90.0", "[89.0,", "91.0]", "90.0"]
    assert "vicreg    -1.50    0.50  learning     7.8      1.0    2,000  1,234" in printed(SHEET)


def test_what_does_not_stand_apart_is_marked_and_what_does_is_bold() -> None:
    lines = printed(SHEET).splitlines()
    assert [line.split()[0] for line in lines if "] ~ " in line] == ["simclr"]
    shown = printed(SHEET, colour=True)
    assert "\x1b[1m90.0 [89.0, 91.0]" in shown and "\x1b[1m86.0" not in shown


def test_a_failed_method_has_a_row_and_notes_are_text_not_markup() -> None:
    shown = printed(SHEET)
    assert [line.split() for line in shown.splitlines() if line.startswith("byol ")][1] == ["byol", "failed"]
    assert "[red]the loss became nan[/red]" in shown


def test_without_labels_only_the_other_rank_is_shown() -> None:
    shown = printed(unlabelled(SHEET))
    assert "kNN" not in shown and "raw input" not in shown and "rank without" in shown
    (line,) = (line for line in shown.splitlines() if line.startswith("simclr"))
    assert line.split() == ["simclr", "2", "-1.50", "0.50", "learning", "7.8", "1.0", "2,000", "1,234"]


def test_it_fits_a_terminal() -> None:
    shots = {f"{shots} per class": Share(0.9, 0.8, 1.0) for shots in (1, 10, 100)}
    rows = [replace(one, accuracy=one.accuracy | shots) for one in SHEET.rows[:2]]
    shown = printed(replace(SHEET, rows=rows, raw=RAW | shots, untrained={"small": RAW | shots}))
    assert "small, untrained   " in shown and "…" not in shown


@pytest.mark.parametrize(
    "sheet", [SHEET, unlabelled(SHEET), replace(SHEET, rows=[Row("byol")], raw={}, untrained={})], ids=range(3)
)
def test_the_plot_grows_with_the_rows(sheet: Sheet, tmp_path: Path) -> None:
    draw(tmp_path / "few.png", sheet)
    draw(tmp_path / "many.png", replace(sheet, rows=[*sheet.rows] * 4))
    with Image.open(tmp_path / "few.png") as few, Image.open(tmp_path / "many.png") as many:
        assert few.width == many.width >= 1000 and few.height + 100 < many.height
        assert few.convert("L").getextrema()[0] < 128  # something is drawn
