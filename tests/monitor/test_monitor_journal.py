"""metrics.jsonl: complete rows, cut back on resume, and a run that diverged is stopped with the way out."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from twinlens.errors import NotLearning
from twinlens.monitor.journal import Journal, facts, read


def play(path: Path, start: int, stop: int, total: int = 40, loss: float = 1.0) -> Journal:
    journal = Journal(path, title="t", total=total, start=start, views_per_step=8)
    with journal:
        for step in range(start + 1, stop + 1):
            journal.step(step, torch.tensor(loss * step), rate=0.1, waited=0.0)
    return journal


def test_rows_say_what_happened(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    play(path, 0, 40)
    rows = read(path)
    assert [row["step"] for row in rows] == list(range(41))
    assert rows[0] == {"step": 0, "progress": 0.0, "views": 0, "seconds": 0.0}
    assert rows[40]["progress"] == 1 and rows[40]["views"] == 320 and rows[40]["loss"] == 40


def test_long_runs_leave_two_hundred_rows_of_mean_losses(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    play(path, 0, 1000, total=1000)
    rows = read(path)
    assert len(rows) == 201
    assert rows[1]["loss"] == pytest.approx(3.0)  # of steps 1 to 5


def test_resuming_drops_what_came_after_the_checkpoint_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    play(path, 0, 30)
    path.write_text(path.read_text() + '{"step": 31, "pro')  # killed while writing
    play(path, 20, 40)
    rows = read(path)
    assert [row["step"] for row in rows] == list(range(41))
    assert all(b["seconds"] >= a["seconds"] for a, b in pairwise(rows))


def test_what_was_watched_joins_the_last_row(tmp_path: Path) -> None:
    journal = play(tmp_path / "m.jsonl", 0, 10)
    journal.watch({"spread": 0.5})
    assert read(tmp_path / "m.jsonl")[-1]["spread"] == 0.5


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(NotLearning, match=r"nan by step 1 of 40: .*--rate 0.033.*--clip"):
        play(tmp_path / "m.jsonl", 0, 5, loss=float("nan"))
    assert json.loads((tmp_path / "m.jsonl").read_text().splitlines()[-1])["step"] == 1


def test_the_line_has_what_there_is() -> None:
    assert facts({"loss": 1.5, "knn": 0.5, "step": 3}) == "loss 1.500  kNN 50.0%"


def look(word: str) -> dict[str, float]:
    """What a look tells of a run that has collapsed, or not."""
    return {"spread": 0.5, "compared": 0.01 if word == "complete collapse" else 0.9, "gap": 0.5, "moved": 0.1}


def course(path: Path, *words: str) -> Journal:
    journal = Journal(path, title="t", total=100, start=0, views_per_step=8)
    journal.watch({"spread": 0.4})
    for step, word in enumerate(words, 1):
        journal.step(step, torch.tensor(1.0), rate=0.1, waited=0.0, row=True)
        journal.watch(look(word))
    return journal


def test_each_look_leaves_its_word_in_its_row(tmp_path: Path) -> None:
    course(tmp_path / "m.jsonl", "learning", "complete collapse")
    rows = read(tmp_path / "m.jsonl")
    assert [row.get("verdict") for row in rows] == [None, "learning", "complete collapse"]
    assert "complete collapse" in facts(rows[-1])


def test_a_run_is_failing_after_two_bad_looks_in_a_row(tmp_path: Path) -> None:
    bad = "complete collapse"
    assert not course(tmp_path / "a", bad).failing
    assert not course(tmp_path / "b", bad, "learning").failing
    assert not course(tmp_path / "c", bad, "learning", bad).failing
    assert course(tmp_path / "d", "learning", bad, bad).failing.startswith(
        "complete collapse: what the method compares"
    )


def test_a_word_that_turns_bad_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    course(tmp_path / "m", "learning", *["complete collapse"] * 3)
    assert capsys.readouterr().err.count("complete collapse by step 2: ") == 1


def test_the_best_look_so_far_leads(tmp_path: Path) -> None:
    journal, leads = Journal(tmp_path / "m.jsonl", title="t", total=100, start=0, views_per_step=8), []
    journal.watch({"spread": 0.4})
    assert not journal.leads  # before the first step there is no such score
    for step, gap in enumerate((0.2, 0.5, 0.3, 0.5), 1):
        journal.step(step, torch.tensor(1.0), rate=0.1, waited=0.0, row=True)
        journal.watch({"spread": 0.4, "compared": 0.9, "moved": 0.1, "gap": gap})
        leads.append(journal.leads)
    assert leads == [True, True, False, True]  # of equal ones the later
    journal.step(5, torch.tensor(1.0), rate=0.1, waited=0.0, row=True)
    assert not journal.leads  # a row without a look
