"""The command as a newcomer meets it; bad input gets one sentence, exit status 2 and leaves nothing behind."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import refused

from twinlens import discover
from twinlens.cli.main import run, verbs
from twinlens.cli.pretrain import parser
from twinlens.comparison import trial
from twinlens.recipes import find, names

FAST = ["--epochs", "1", "--batch", "16", "--hidden", "16", "--dim", "8", "--width", "16"]


def pictures(folder: Path, count: int, size: int = 16) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(noise.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "cache"))


def test_evaluate_beside_other_data_and_an_audit_of_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert run(["pretrain", "digits", "--out", out, "--epochs", "1", "--batch", "128", "--hidden", "16"]) == 0
    assert run(["evaluate", out, "digits", "--protocol", "neighbours", "--outside", "factors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["results"]][:2] == ["knn", "recall@1"] and found["protocol"]["test"] == 360
    assert found["outside"]["value"] > 0.9 and found["outside"]["baselines"].keys() >= {"raw input"}
    assert "majority class" not in found["results"][1]["baselines"]  # of recall there is none
    rows = [f"{part},{i},{i % 2}" for part, count in (("train", 1437), ("test", 360)) for i in range(count)]
    (tmp_path / "groups.csv").write_text("\n".join(["part,index,group", *rows]))
    assert run(["audit", out, "digits", str(tmp_path / "groups.csv")]) == 0
    said = capsys.readouterr().out
    assert "worst group" in said and "cannot be shown to read the group" in said
    assert run(["finetune", out, "digits", "--epochs", "1", "--shots", "10", "--json"]) == 0
    tuned = json.loads(capsys.readouterr().out)
    assert tuned["settings"]["labels"] == 100 and tuned["baselines"].keys() == {"supervised"}
    assert "expected 0 to 4" in refused(capsys, "finetune", out, "digits", "--frozen", "9")
    assert run(["dense", out, "digits", "--train", "20", "--test", "10", "--json"]) == 0
    places = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in places] == ["segmentation mIoU", "detection mAP@0.5"]
    assert places[0]["baselines"].keys() == {"untrained encoder", "raw patches"}
    assert "is no file" in refused(capsys, "audit", out, "digits", str(tmp_path / "other.csv"))
    assert "did you mean full" in refused(capsys, "evaluate", out, "digits", "--protocol", "ful")


def test_groups_by_place_are_those_of_the_data_before_it_is_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    y, light = np.arange(240) % 2, np.arange(240) // 2 % 2  # every other pair of pictures is bright: the group
    x = random.integers(0, 100, (240, 8, 8)) + 100 * light[:, None, None]
    np.savez(tmp_path / "d.npz", x=x.astype(np.uint8), y=y)
    rows = [f"train,{i},{group}" for i, group in enumerate(light)]
    (tmp_path / "g.csv").write_text("\n".join(["part,index,group", *rows]))
    data, out = str(tmp_path / "d.npz"), str(tmp_path / "run")
    assert run(["pretrain", data, "--out", out, *FAST]) == 0
    assert run(["audit", out, data, str(tmp_path / "g.csv")]) == 0
    assert "a linear probe can read the group" in capsys.readouterr().out  # of places in the parts it could not


def test_a_run_that_collapses_ends_with_a_status_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = ["--method", "vicreg", "--variance", "0", "--hidden", "64", "--batch", "128", "--epochs", "8"]
    assert run(["pretrain", "digits", "--out", str(tmp_path / "run"), *broken, "--stop_on_collapse"]) == 3
    said = capsys.readouterr().err
    assert "twinlens: stopped at step" in said and "complete collapse" in said and "Traceback" not in said


def test_pretrain_evaluate_embed_over_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cats", "dogs"):
        pictures(tmp_path / "data" / name, 30)
    data, out = str(tmp_path / "data"), str(tmp_path / "run")
    assert run(["pretrain", data, "--out", out, *FAST]) == 0
    assert run(["evaluate", out, data]) == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("knn", "linear probe", "this", "raw", "pooled", "untrained", "majority"))
    parquet = tmp_path / "e.parquet"
    assert run(["embed", out, data, "--out", str(parquet)]) == 0
    rows = pq.read_table(parquet)
    assert rows.num_rows == 60 and set(rows["label"].to_pylist()) == {"cats", "dogs"}
    assert Path(rows["name"].to_pylist()[0]).suffix == ".jpg"


def test_list_and_show_name_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    listed = capsys.readouterr().out
    for name in [*discover.methods(), *discover.encoders(), "fashion-mnist"]:
        assert name in listed
    for name, cls in discover.methods().items():
        assert run(["show", name]) == 0
        shown = capsys.readouterr().out
        assert any(source in shown for source in ("arXiv", "doi:", "JMLR"))
        assert all(f"--{setting} " in shown for setting in discover.settings(cls))


def test_help_comes_from_the_signatures(capsys: pytest.CaptureFixture[str]) -> None:
    for method, cls in discover.methods().items():
        with pytest.raises(SystemExit) as ended:
            run(["pretrain", "--method", method, "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert all(f"--{setting}" in shown for setting in discover.settings(cls))
    assert "section" in shown  # where a default comes from


def test_a_recipe_gives_the_defaults_and_is_found_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = parser(["digits", "--recipe", "fashion_mnist", "--method", "byol"]).parse_args(
        ["digits", "--recipe", "fashion_mnist", "--method", "byol", "--hidden", "64"]
    )
    recipe = find("fashion_mnist", "byol")
    assert (chosen.rate, chosen.momentum) == (recipe.training.rate, recipe.settings["momentum"])
    assert chosen.hidden == 64
    assert "did you mean fashion_mnist" in refused(capsys, "pretrain", "digits", "--recipe", "fashion-mnist")


def test_a_recipe_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ["digits", "--recipe", "fashion_mnist", "--method", "relative_position", "--epochs", "0.2"]
    assert run(["pretrain", *asked, "--out", str(out)]) == 0
    made = json.loads((out / "run.json").read_text())["method"]
    assert (made["name"], made["task"]) == ("pretext", "relative_position")


def test_every_recipe_names_settings_that_exist() -> None:
    for name in names():
        module = import_module(f"twinlens.recipes.{name}")
        methods = [method for method in discover.methods() if hasattr(module, method)]
        assert methods
        for method in methods:
            assert find(name, method).sections()


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in verbs():
        with pytest.raises(SystemExit) as ended:
            run([verb, "--help"])
        assert ended.value.code == 0
        assert f"twinlens {verb}" in capsys.readouterr().out
    assert run([]) == 2 and "usage" in capsys.readouterr().out


def test_the_module_and_the_command_are_one() -> None:
    done = subprocess.run([sys.executable, "-m", "twinlens", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"twinlens \d+\.\d+\.\d+\n", done.stdout)


def test_unknown_verb_option_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean pretrain" in refused(capsys, "pretran")
    for wrong in (["--epoch_count", "3"], ["--epochs", "many"], ["--optimizer", "adam"]):
        said = refused(capsys, "pretrain", "digits", *wrong)
        assert wrong[0].strip("-") in said or wrong[1] in said


def test_missing_path_empty_folder_one_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    said = refused(capsys, "pretrain", str(tmp_path / "nowhere"), "--out", str(out))
    assert "nowhere" in said
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(capsys, "pretrain", str(tmp_path / "empty"), "--out", str(out))
    assert "one" in refused(capsys, "pretrain", str(pictures(tmp_path / "one", 1)), "--out", str(out))
    assert not out.exists()


def test_broken_pictures_are_skipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pictures(tmp_path / "data", 120)
    whole = (folder / "3.jpg").read_bytes()
    (folder / "3.jpg").write_bytes(whole[: len(whole) // 2])
    assert run(["pretrain", str(folder), "--out", str(tmp_path / "run"), *FAST]) == 0
    assert "3.jpg" in (tmp_path / "run" / "report.html").read_text()
    for number in range(4, 20):
        (folder / f"{number}.jpg").write_text("not a picture")
    said = refused(capsys, "pretrain", str(folder), "--out", str(tmp_path / "two"), *FAST)
    assert "17" in said and "of 120" in said
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((10, 4), np.uint8), "shape"),
        (np.zeros((10, 4, 4, 7), np.uint8), "shape"),
        (np.zeros((10, 4, 4), np.complex64), "complex64"),
        (np.full((10, 4, 4), np.nan, np.float32), "NaN"),
        (np.full((10, 4, 4), 7.0, np.float32), "7"),
        (np.array([{}] * 10), "object"),
    ],
)
def test_arrays_that_are_no_pictures(
    array: np.ndarray, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=array.dtype == object)
    said = refused(capsys, "pretrain", str(tmp_path / "a.npy"), "--out", str(tmp_path / "run"))
    assert word.lower() in said.lower() and not (tmp_path / "run").exists()


def test_a_checkpoint_cut_short_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert run(["pretrain", str(pictures(tmp_path / "data", 40)), "--out", out, *FAST]) == 0
    (newest,) = (tmp_path / "run" / "checkpoints").iterdir()
    newest.write_bytes(newest.read_bytes()[:1000])
    said = refused(capsys, "pretrain", str(tmp_path / "data"), "--out", out, "--resume", *FAST)
    assert newest.name in said and "delete it" in said
    weights = tmp_path / "run" / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "encoder.safetensors" in refused(capsys, "embed", out, str(tmp_path / "data"), "--out", "x.parquet")


def test_a_disk_that_fills_leaves_no_half_made_run(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's: every write beyond 100 kB fails, as it would there."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from twinlens.cli.main import run;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); sys.exit(run(sys.argv[1:]))"
    )
    wide = ["--epochs", "1", "--batch", "128", "--hidden", "512", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, "pretrain", "digits", *wide], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert re.search(r"twinlens: the disk under .* is full", done.stderr) and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_evaluate_without_labels_or_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a run folder" in refused(capsys, "evaluate", str(tmp_path), "digits")
    data, out = str(pictures(tmp_path / "data", 40)), str(tmp_path / "run")
    assert run(["pretrain", data, "--out", out, *FAST]) == 0
    assert "no labels" in refused(capsys, "evaluate", out, data)


def test_compare_prints_a_table_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_start", lambda verb, asked: trial.Outcome(trial._train(**asked), failed=False))
    for name in ("cats", "dogs"):
        pictures(tmp_path / "data" / name, 30)
    made = ["--views", "128", "--batch", "16", "--out", str(tmp_path / "c")]
    assert run(["compare", "simclr", *made, str(tmp_path / "data")]) == 0
    said = capsys.readouterr()
    assert "1 of 1: simclr, 1.33 epochs, 128 views" in said.err and "comparison.png" in said.err
    assert all(word in said.out for word in ("rank by", "without", "raw input", "small, untrained", "formity"))
    assert run(["compare", "simclr", str(tmp_path / "data"), *made, "--resume", "--json"]) == 0
    said = capsys.readouterr()
    assert "simclr was finished before" in said.err
    assert json.loads(said.out)["rows"][0]["name"] == "simclr"


def test_compare_refuses_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "c")
    for wrong, words in (
        (["simclrr", "digits"], "did you mean simclr"),
        (["simclr", "byol"], "unknown path or name of data 'byol'"),
        (["simclr", "digits", "--views", "5000", "--minutes", "5"], "exclude each other"),
        (["simclr", "digits", "--views", "many"], "invalid int value: 'many'"),
        (["simclr", "digits", "--encoder", "smal"], "did you mean small"),
        (["simclr", "digits", "--recipe", "fashion-mnist"], "did you mean fashion_mnist"),
        (["simclr", "simclr", "digits"], "named twice"),
    ):
        assert words in refused(capsys, "compare", *wrong, "--out", out)
    assert not Path(out).exists()


def test_a_comparison_of_which_nothing_was_trained_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_start", lambda verb, asked: trial.Outcome("the loss became nan", failed=True))
    said = refused(capsys, "compare", "simclr", "byol", "digits", "--out", str(tmp_path / "c"))
    assert said == "twinlens: none of the runs was finished; the first: the loss became nan"
