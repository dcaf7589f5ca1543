"""Small comparisons of real runs: equal views, what is kept, what goes on after a kill, what fails by itself."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import twinlens as tl
from twinlens.comparison import compare as module
from twinlens.comparison import trial
from twinlens.comparison.record import Record
from twinlens.comparison.result import Comparison
from twinlens.data.load import load as load_data
from twinlens.errors import InputError

TINY: dict[str, Any] = {"batch": 32, "hidden": 16, "dim": 8, "width": 16}
VIEWS = 1024


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A part of digits: 320 to learn from, 100 to test on."""
    split, path = load_data("digits"), tmp_path_factory.mktemp("data") / "few.npz"
    assert split.test
    x, y, x_test, y_test = split.train.pixels[:320], split.train.labels, split.test.pixels[:100], split.test.labels
    assert y is not None and y_test is not None
    np.savez(path, x_train=x, y_train=y[:320], x_test=x_test, y_test=y_test[:100])
    return str(path)


def in_this_process(patch: pytest.MonkeyPatch) -> list[str]:
    """Has runs train here, which is faster; the names of their folders, in order."""
    names: list[str] = []

    def start(verb: str, asked: dict[str, Any]) -> trial.Outcome:
        names.append(Path(asked["out"]).name)
        return trial.Outcome(trial._train(**json.loads(json.dumps(asked))), failed=False)

    patch.setattr(trial, "_start", start)
    return names


@pytest.fixture(scope="module")
def made(data: str, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        return tl.compare(["simclr", "swav"], data, views=VIEWS, out=tmp_path_factory.mktemp("made") / "c", **TINY)


@pytest.fixture
def copy(made: Comparison, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.path, tmp_path / "copy"))


def again(data: Any, path: Path, *methods: str, **asked: Any) -> Comparison:
    return tl.compare(methods, data, out=path, resume=True, **{"views": VIEWS, **TINY, **asked})


def test_every_run_made_the_same_views(made: Comparison) -> None:
    runs = {name: tl.load(made.path / name) for name in ("simclr", "swav")}
    assert [run.metrics[-1]["views"] for run in runs.values()] == [VIEWS, VIEWS]
    epochs = [run.training.epochs for run in runs.values()]
    assert epochs[0] == pytest.approx(4 * epochs[1])  # two views of a sample against eight
    assert all(run.metrics[-1]["progress"] == 1 for run in runs.values())


def test_a_run_of_it_is_a_run_like_any_other(made: Comparison, data: str) -> None:
    run = tl.load(made.path / "swav")
    assert run.embed(data).shape == (420, 256)
    (kept,) = json.loads((run.folder / "evaluation.json").read_text())
    (record,) = (record for record in made.records if record.method == "swav")
    assert kept["results"][0]["value"] == record.results[0].value
    assert run.evaluate(data).results == record.results  # its baselines were taken from simclr's evaluation
    assert "untrained encoder" in (run.folder / "report.html").read_text()


def test_the_folder_says_everything(made: Comparison) -> None:
    assert {path.name for path in made.path.iterdir()} == {"simclr", "swav", "comparison.json", "comparison.png"}
    kept = json.loads((made.path / "comparison.json").read_text())
    assert kept == json.loads(json.dumps(made.as_dict()))
    assert kept["request"]["views"] == VIEWS and kept["request"]["settings"] == TINY
    assert kept["plans"]["swav"]["arguments"]["epochs"] == tl.load(made.path / "swav").training.epochs
    assert [row["name"] for row in kept["rows"]] == [row.name for row in made.rows]
    assert {"twinlens", "torch", "python"} <= kept["versions"].keys()
    for row in made.rows:
        assert row.seconds > 0 and row.watched["spread"] > 0
        assert {"knn", "linear probe", "10 per class"} <= row.accuracy.keys()
    with Image.open(made.path / "comparison.png") as picture:
        assert picture.width > 1000
    assert "raw input" in str(made) and "small, untrained" in str(made) and "not tuned: simclr, swav" in str(made)


def test_finished_runs_are_kept_and_only_what_is_missing_is_trained(
    copy: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "simclr" / trial.DONE).unlink()
    kept = json.loads((copy / "comparison.json").read_text())
    kept["records"] = []  # killed before swav was evaluated
    (copy / "comparison.json").write_text(json.dumps(kept))
    trained = in_this_process(monkeypatch)
    monkeypatch.setattr(module, "measured", unmeasured)
    assert all(row.runs for row in again(data, copy, "simclr", "swav").rows)
    assert trained == ["simclr"]


def test_killed_with_its_run_and_resumed_with_a_method_more(copy: Path, data: str) -> None:
    code = "import sys, json, twinlens as tl; tl.compare(['simclr', 'swav', 'byol'], **json.loads(sys.argv[1]))"
    asked = json.dumps({"data": data, "out": str(copy), "resume": True, "views": VIEWS, **TINY})
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    before = (copy / "simclr" / "encoder.safetensors").stat().st_mtime_ns
    with subprocess.Popen([sys.executable, "-c", code, asked], stderr=subprocess.DEVNULL, env=environment) as parent:
        until = time.monotonic() + 120
        while not (copy / "byol" / "run.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        os.kill(parent.pid, signal.SIGKILL)
    assert ended(child, within=10) and not (copy / "byol" / trial.DONE).exists()
    found = again(data, copy, "simclr", "swav", "byol")
    assert (copy / "simclr" / "encoder.safetensors").stat().st_mtime_ns == before
    assert tl.load(copy / "byol").metrics[-1]["views"] == VIEWS and found.agreement is not None
    (byol,) = (row for row in found.rows if row.name == "byol")
    assert 50 < byol.memory < 4000  # MiB, of a process that has imported torch
    assert byol.runs == 1 and len(found.rows) == 3


def ended(process: str, *, within: float) -> bool:
    """Whether a process ends; one that nobody has waited for is a zombie."""
    until, stat = time.monotonic() + within, Path(f"/proc/{process}/stat")
    while stat.exists() and stat.read_text().split()[2] != "Z":
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "its process was ended by SIGKILL, as when memory runs out"),
        ("echo noise; echo the loss became nan; exit 1", "the loss became nan"),
        ("exit 3", "its process ended with status 3"),
    ],
)
def test_however_a_process_ends_it_is_said(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text(f"#!/bin/sh\nread line\n{script}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(trial.sys, "executable", str(tmp_path / "python"))
    assert trial.train(tl.Run("digits"), tmp_path / "run") == said
    with pytest.raises(InputError, match="simclr could not be timed"):
        trial.seconds_per_step(tl.Run("digits"), 5)


def test_a_run_that_fails_says_why_and_stops_no_other(
    copy: Path, data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "byol").mkdir()
    (copy / "byol" / "photo.jpg").write_bytes(b"precious")

    def child(verb: str, asked: dict[str, Any]) -> trial.Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"verb": verb, "threads": 1, "asked": asked})))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            trial.main()
        return trial.Outcome(capsys.readouterr().out.strip(), failed=ended.value.code != 0)

    monkeypatch.setattr(trial, "_end_with_parent", lambda: None)
    monkeypatch.setattr(trial, "_start", child)
    found = again(data, copy, "byol", "simclr")
    assert [(row.name, row.runs) for row in found.rows] == [("simclr", 1), ("byol", 0)]
    assert "byol was not trained: " in str(found) and "something else than a run" in str(found)
    kept = json.loads((copy / "comparison.json").read_text())
    assert kept["records"][-1]["error"].startswith(str(copy / "byol")) and (copy / "byol" / "photo.jpg").exists()
    monkeypatch.setattr(trial, "pretrain", lambda **asked: 1 / 0)
    assert again(data, copy, "byol").records[0].error == "ZeroDivisionError: division by zero"


def test_arrays_without_labels_are_ranked_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch)
    pictures = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    found = tl.compare("simclr", pictures, views=256, out=tmp_path / "c", **TINY)
    (row,) = found.rows
    assert row.without_labels == 1 and row.by_labels is None and not row.accuracy
    assert "no rank by labels: array has no labels" in str(found) and "kNN" not in str(found)
    assert tl.load(tmp_path / "c" / "simclr").embed(tmp_path / "c" / "array.npy").shape == (120, 256)


def unmeasured(path: Path, data: str, earlier: Any, *, labelled: bool) -> Record:
    """In the place of `measured`: the record of a run that nothing is known of."""
    method, _, seed = path.name.partition("-")
    return Record(method, int(seed or 0), str(path), encoder="small", views=1, seconds=1.0)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has nothing trained; the names of the folders and the seeds of the runs that would be, in order."""
    names: list[str] = []
    monkeypatch.setattr(trial, "train", lambda run, path: names.append(f"{path.name}: {run.training.seed}"))
    monkeypatch.setattr(module, "measured", unmeasured)
    return names


def test_seeds_are_runs_of_their_own_and_may_be_added(tmp_path: Path, data: str, planned: list[str]) -> None:
    again(data, tmp_path / "c", "simclr", "byol")
    assert planned == ["simclr: 0", "byol: 0"]
    found = again(data, tmp_path / "c", "simclr", "byol", seeds=2)
    assert planned[2:] == ["simclr-1: 1", "byol-1: 1"]
    assert [row.runs for row in found.rows] == [2, 2]


def test_what_failed_is_tried_again(
    tmp_path: Path, data: str, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trial, "train", lambda run, path: "the loss became nan" if run.method == "byol" else "")
        found = again(data, tmp_path / "c", "byol", "simclr")
        assert {row.name: row.runs for row in found.rows} == {"byol": 0, "simclr": 1}
    assert all(row.runs for row in again(data, tmp_path / "c", "byol", "simclr").rows)
    assert planned == ["byol: 0"]


@pytest.mark.usefixtures("planned")
def test_minutes_are_planned_once(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "seconds_per_step", lambda run, steps: 0.5)
    first = again(data, tmp_path / "c", "simclr", views=None, minutes=1)
    assert first.plans["simclr"].views == 120 * 32 * 2
    monkeypatch.setattr(trial, "seconds_per_step", lambda run, steps: pytest.fail("measured again"))
    assert again(data, tmp_path / "c", "simclr", views=None).plans == first.plans


def test_it_is_neither_overwritten_nor_resumed_as_another(made: Comparison, data: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"exists: continue it with --resume"):
        tl.compare("simclr", data, out=made.path, views=VIEWS, **TINY)
    with pytest.raises(InputError, match=r"was started with views = 1024, not 4096: resume it with the same"):
        again(data, made.path, "simclr", views=4096)
    with pytest.raises(InputError, match=r"was started with settings"):
        again(data, made.path, "simclr", batch=64)
    with pytest.raises(InputError, match=r"was started with data"):
        again(np.zeros((200, 8, 8), np.uint8), made.path, "simclr")
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"something else than a comparison"):
        again(data, tmp_path, "simclr")
    assert (tmp_path / "photo.jpg").exists()


def test_a_run_that_diverges_is_a_failure_in_one_sentence(tmp_path: Path) -> None:
    asked = {"data": "digits", "method": "vicreg", "optimizer": "sgd", "rate": 1e30, "hidden": 16, "batch": 128}
    outcome = trial._start("train", asked | {"epochs": 1, "out": str(tmp_path / "r")})
    assert outcome.failed and outcome.said.startswith("the loss became ")
