"""A whole run on real pictures, small: what its folder holds, that it resumes to the same weights, what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import twinlens as tl
from twinlens import checkpoint, discover
from twinlens.checkpoint import read
from twinlens.encoders.contract import CausalEncoder, PairEncoder, TokenEncoder, WordEncoder
from twinlens.encoders.foreign import named
from twinlens.errors import InputError, NotLearning
from twinlens.evaluate.protocol import Protocol
from twinlens.plan import plan
from twinlens.train import Training

SMALL = {"epochs": 1, "batch": 128, "hidden": 32, "dim": 16, "width": 16}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tl.Run:
    return tl.pretrain("digits", out=tmp_path_factory.mktemp("runs") / "digits", **SMALL)


def test_the_folder_holds_everything(run: tl.Run) -> None:
    names = {path.name for path in run.folder.iterdir()}
    wanted = {"run.json", "encoder.safetensors", "untrained.safetensors", "metrics.jsonl", "report.html", "checkpoints"}
    assert wanted <= names
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["method"] == {"name": "simclr", "hidden": 32, "dim": 16, "temperature": 0.1, "decoupled": False}
    assert facts["training"]["batch"] == 128 and facts["views"]["size"] == 8 and facts["data"]["fingerprint"]
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["progress"] == 1 and {"spread", "rank", "knn"} <= rows[-1].keys()


def test_a_loaded_run_is_the_same_run(run: tl.Run) -> None:
    loaded = tl.load(run.folder)
    vectors = run.embed("digits")
    assert vectors.shape == (1797, 256) and vectors.dtype == np.float32
    assert np.array_equal(vectors, loaded.embed("digits"))
    assert loaded.training == run.training and loaded.method == "simclr"


def test_training_changed_the_encoder_and_its_start_was_kept(run: tl.Run) -> None:
    trained, untrained = run.encoder.state_dict(), run.untrained.state_dict()
    assert trained.keys() == untrained.keys()
    assert not torch.equal(trained["layers.0.0.weight"], untrained["layers.0.0.weight"])
    fresh = run.new_encoder({"channels": 1}).state_dict()
    assert all(torch.equal(fresh[name], untrained[name]) for name in fresh)


def test_the_whole_method_comes_back_with_the_weights_it_ended_with(run: tl.Run, tmp_path: Path) -> None:
    for one in (run, tl.load(run.folder)):
        assert type(one.model) is discover.method("simclr") and not any(part.training for part in one.model.modules())
        ended = checkpoint.read(run.folder / "checkpoints" / "000000010.safetensors")[0]
        state = one.model.state_dict()
        assert {f"method.{name}" for name in state} == {name for name in ended if name.startswith("method.")}
        assert all(torch.equal(tensor.cpu(), ended[f"method.{name}"]) for name, tensor in state.items())
        inside, trained = one.model.encoder.state_dict(), one.encoder.state_dict()
        assert inside.keys() == trained.keys() and all(torch.equal(inside[name], trained[name]) for name in inside)
        assert one.model.encoder is not one.encoder
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "run.json").write_bytes((run.folder / "run.json").read_bytes())
    with pytest.raises(InputError, match="r holds no checkpoint: continue it with --resume, or train it again"):
        _ = tl.load(tmp_path / "r").model


def test_the_method_of_a_module_comes_back_too_and_what_counts_samples(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    settings = {"epochs": 1, "batch": 27, "hidden": 16, "dim": 8}
    run = tl.pretrain(pictures, encoder=module, out=tmp_path / "r", **settings)
    trained, untrained, inside = (one.state_dict() for one in (run.encoder, run.untrained, run.model.encoder))
    assert torch.equal(trained["module.1.weight"], inside["module.1.weight"])
    assert torch.equal(trained["module.1.weight"], module[1].weight)  # it was trained in place, and stays so
    assert not torch.equal(trained["module.1.weight"], untrained["module.1.weight"])
    counted = tl.pretrain(pictures, "deepclusterv2", out=tmp_path / "d", prototypes=8, width=16, **settings)
    inside, trained = counted.model.encoder.state_dict(), counted.encoder.state_dict()
    assert all(torch.equal(inside[name], trained[name]) for name in trained)


CAUSAL = [name for name, cls in discover.methods().items() if discover.encoder_kind(cls) is CausalEncoder]


@pytest.mark.skipif(not CAUSAL, reason="no method predicts the next token")
def test_a_method_that_predicts_the_next_token_has_an_encoder_that_does_not_see_it(tmp_path: Path) -> None:
    small = {"patch": 2, "width": 16, "depth": 1, "heads": 2}
    for name in CAUSAL:
        planned = plan("digits", name, encoder=None)
        assert planned.architecture == "vit" and planned.sections()["encoder"]["causal"] is True
        assert plan("digits", name, encoder="vit", causal=True).settings == {"causal": True}
        seeing = plan("digits", name, encoder=None, causal=False, **small)
        assert plan("digits", name, encoder=None, recipe=seeing).settings == seeing.settings  # as it was set
        with pytest.raises(InputError, match=f"{name} predicts what its encoder has not seen yet: set --causal true"):
            seeing.new_method(seeing.new_encoder({"channels": 1}), 100)
        for encoder in ("small", "resnet18"):
            other = plan("digits", name, encoder=encoder)
            with pytest.raises(InputError, match=f"{name} needs an encoder that gives tokens: vit or words instead of"):
                other.new_method(other.new_encoder({"channels": 1}), 100)
    pictures = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    with pytest.raises(InputError, match="set --causal true"):
        tl.pretrain(pictures, CAUSAL[0], out=tmp_path / "r", epochs=1, batch=27, causal=False, **small)
    assert not (tmp_path / "r").exists()
    done = tl.pretrain(pictures, CAUSAL[0], out=tmp_path / "r", epochs=1, batch=27, **small)
    assert done.encoder.causal and done.facts["encoder"]["causal"] is True
    assert tl.load(done.folder).encoder.causal and tl.load(done.folder).model.encoder.causal


def test_other_methods_have_encoders_that_see_everything_unless_told_otherwise() -> None:
    for name, cls in discover.methods().items():
        if discover.encoder_kind(cls) is TokenEncoder:
            assert plan("digits", name, encoder=None).sections()["encoder"]["causal"] is False
            assert plan("digits", name, encoder=None, causal=True).sections()["encoder"]["causal"] is True
        elif name not in CAUSAL:
            assert "causal" not in plan("digits", name, encoder=None).settings


def test_evaluation_stands_beside_its_baselines(run: tl.Run) -> None:
    found = run.evaluate("digits")
    assert [result.name for result in found.results][:2] == ["knn", "linear probe"]
    assert set(found["knn"].baselines) == {"raw input", "pooled pixels", "untrained encoder", "majority class"}
    assert found["knn"].interval[0] <= found["knn"].value <= found["knn"].interval[1]
    assert "pooled" in str(found) and "knn" in str(found)
    kept = json.loads((run.folder / "evaluation.json").read_text())
    assert len(kept) == 1 and kept[0]["results"][0]["value"] == found["knn"].value
    assert "untrained encoder" in (run.folder / "report.html").read_text()


def test_the_encoder_chosen_without_labels_is_that_of_the_best_look(run: tl.Run, tmp_path: Path) -> None:
    looks = [row for row in run.metrics if "gap" in row]
    best = max(looks, key=lambda row: (row["gap"], row["step"]))
    tensors, facts = checkpoint.read(run.folder / "chosen.safetensors")
    assert facts["step"] == best["step"]
    same = all(torch.equal(run.chosen.state_dict()[name], tensor) for name, tensor in tensors.items())
    assert same and run.evaluate("digits", protocol="neighbours", chosen=True).protocol["encoder"].startswith("chosen")
    alone = tl.pretrain("digits", "mae", out=tmp_path / "mae", patch=2, width=16, depth=1, heads=2, epochs=1, batch=128)
    assert not (alone.folder / "chosen.safetensors").exists() and alone.chosen is alone.encoder


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run: tl.Run, tmp_path: Path) -> None:
    again = tl.pretrain("digits", out=tmp_path / "again", **SMALL)
    other = tl.pretrain("digits", out=tmp_path / "other", **{**SMALL, "seed": 1})
    weights = [one.encoder.state_dict()["layers.0.0.weight"] for one in (run, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_killed_and_resumed_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    arguments = [
        "pretrain",
        "digits",
        "--epochs",
        "6",
        "--batch",
        "128",
        "--hidden",
        "32",
        "--dim",
        "16",
        "--width",
        "16",
        "--save_every",
        "0",
    ]
    command = [sys.executable, "-m", "twinlens", *arguments, "--out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run([*command, str(whole)], check=True, capture_output=True, env=environment)
    process = subprocess.Popen([*command, str(cut)], stderr=subprocess.DEVNULL, env=environment)
    until = time.monotonic() + 120
    while len(list((cut / "checkpoints").glob("*.safetensors"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (cut / "encoder.safetensors").exists()
    subprocess.run([*command, str(cut), "--resume"], check=True, capture_output=True, env=environment)
    (first, _), (second, _) = read(whole / "encoder.safetensors"), read(cut / "encoder.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)
    steps = [json.loads(line)["step"] for line in (cut / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 6 * 10


def test_every_method_runs_through(tmp_path: Path) -> None:
    for name, cls in discover.methods().items():
        if (kind := discover.encoder_kind(cls)) is WordEncoder:
            continue  # test_run_texts.py
        settings = {key: min(value, 16) for key, value in discover.settings(cls).items() if type(value) is int}
        extra = {} if kind in (nn.Module, PairEncoder) else {"depth": 1, "heads": 2}
        done = tl.pretrain("digits", name, out=tmp_path / name, epochs=1, batch=256, width=16, **settings, **extra)
        assert np.isfinite(done.embed("digits")).all(), name


def test_any_module_is_an_encoder(tmp_path: Path) -> None:
    def module() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))

    run = tl.pretrain("digits", encoder=module(), out=tmp_path / "r", epochs=1, batch=128, hidden=16, dim=8)
    assert run.encoder(torch.zeros(2, 1, 8, 8)).shape == (2, 12)
    with pytest.raises(InputError, match="given as a module"):
        tl.load(run.folder)
    assert np.array_equal(tl.load(run.folder, encoder=module()).embed("digits"), run.embed("digits"))


def test_arrays_and_labels_for_watching(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (200, 12, 12, 3), dtype=np.uint8)
    run = tl.pretrain(pictures, out=tmp_path / "r", labels=np.arange(200) % 2, **{**SMALL, "batch": 64})
    assert run.embed(pictures).shape == (200, 256)
    assert "knn" in (run.folder / "metrics.jsonl").read_text()


def test_half_an_epoch_is_half_the_steps(run: tl.Run, tmp_path: Path) -> None:
    half = tl.pretrain("digits", out=tmp_path / "r", **{**SMALL, "epochs": 0.5})
    assert run.metrics[-1]["step"] == 10 and half.metrics[-1]["step"] == 5
    assert half.metrics[-1]["progress"] == 1 and half.metrics[-1]["rate"] < 1e-4
    assert tl.load(half.folder).training.epochs == 0.5


def test_a_method_that_learns_from_labels_is_refused_data_without(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "grey.npy", pictures)
    with pytest.raises(InputError, match=r"supcon learns from labels, and grey has none: .* labels= in Python"):
        tl.pretrain(tmp_path / "grey.npy", "supcon", out=tmp_path / "r", **SMALL)
    assert not (tmp_path / "r").exists()


def test_a_method_learns_from_the_labels_it_is_given_and_the_run_says_so(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    settings = {**SMALL, "batch": 64}
    weights, notes = [], []
    for number, labels in enumerate((np.arange(200) % 2, np.arange(200) % 3)):
        for method in ("supcon", "simclr"):
            done = tl.pretrain(pictures, method, out=tmp_path / f"{method}{number}", labels=labels, **settings)
            weights.append(done.encoder.state_dict()["layers.0.0.weight"])
            notes.append(any("learnt from the labels" in note for note in done.facts["notes"]))
    assert not torch.equal(weights[0], weights[2]) and torch.equal(weights[1], weights[3])
    assert notes == [True, False, True, False]
    with pytest.raises(InputError, match="started with data labels"):
        tl.pretrain(pictures, "supcon", out=tmp_path / "supcon0", labels=np.arange(200) % 3, resume=True, **settings)


def test_a_method_is_not_judged_on_labels_it_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protocol, "measure", lambda self, *parts: [])  # whether, not how well
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (200, 8, 8), dtype=np.uint8), np.arange(200) % 2
    np.savez(tmp_path / "whole.npz", x_train=x, y_train=y)
    np.savez(tmp_path / "other.npz", x_train=x[::-1], y_train=y)
    np.savez(tmp_path / "split.npz", x_train=x[:150], y_train=y[:150], x_test=x[150:], y_test=y[150:])

    def evaluate(method: str, learnt: str, judged: str) -> None:
        path = tmp_path / f"{method}-{learnt}"
        if not path.exists():
            tl.pretrain(tmp_path / f"{learnt}.npz", method, out=path, **{**SMALL, "batch": 64})
        tl.load(path).evaluate(tmp_path / f"{judged}.npz")

    with pytest.raises(InputError, match="learnt from the labels of whole, which has no test part of its own"):
        evaluate("supcon", "whole", "whole")
    evaluate("supcon", "whole", "other")
    evaluate("supcon", "split", "split")
    evaluate("simclr", "whole", "whole")


def test_grey_pictures_of_another_size_fit_an_encoder_of_colour(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    run = tl.pretrain(
        random.integers(0, 256, (80, 16, 16, 3), dtype=np.uint8), out=tmp_path / "r", **SMALL | {"batch": 32}
    )
    grey = random.integers(0, 256, (5, 11, 11, 1), dtype=np.uint8)
    np.testing.assert_allclose(run.embed(grey), run.embed(grey.repeat(3, axis=3)), rtol=1e-5)


def test_grey_pictures_fit_an_encoder_of_colour_and_the_other_way_round(run: tl.Run) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    assert run.embed(colour).shape == (20, 256)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "simclrr"}, "unknown method 'simclrr': did you mean simclr"),
        ({"encoder": "resnet81"}, "unknown encoder 'resnet81': did you mean resnet18"),
        ({"temperatur": 0.1}, "unknown setting 'temperatur': did you mean temperature"),
        ({"batch": 5000}, r"batch of 5000 is larger than the 1294 samples.*--batch"),
        ({"method": "mae", "encoder": "small"}, "mae needs an encoder that gives tokens"),
        ({"batch": 8, "micro_batches": 8}, "too small for 8 parts"),
        ({"epochs": 0.001}, r"0\.001 epochs of 1294 samples are less than a step.*--epochs"),
        ({"epochs": float("nan")}, "epochs are nan: expected a number above 0"),
        ({"epochs": float("inf")}, "epochs are inf: expected a number above 0"),
        ({"small_views": -1}, "small_views is -1: expected 0 or more"),
    ],
)
def test_bad_settings_are_refused_before_a_folder_is_made(
    settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        tl.pretrain("digits", out=tmp_path / "r", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "r").exists()


def test_a_run_that_exists_is_neither_overwritten_nor_resumed_as_another(run: tl.Run) -> None:
    with pytest.raises(InputError, match=r"exists: continue it with --resume"):
        tl.pretrain("digits", out=run.folder, **SMALL)
    with pytest.raises(InputError, match=r"started with training batch = 128, not 64"):
        tl.pretrain("digits", out=run.folder, resume=True, **{**SMALL, "batch": 64})
    with pytest.raises(InputError, match=r"started with data"):
        tl.pretrain(np.zeros((1797, 8, 8), np.uint8), out=run.folder, resume=True, **SMALL)
    assert (run.folder / "encoder.safetensors").exists()


def test_resume_starts_what_was_not_started_and_spares_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "untrained.safetensors").write_bytes(b"")  # killed before run.json
    run = tl.pretrain("digits", out=tmp_path / "r", resume=True, **SMALL)
    assert (run.folder / "encoder.safetensors").exists()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="something else than a run"):
        tl.pretrain("digits", out=tmp_path / "own", resume=True, **SMALL)
    assert (tmp_path / "own" / "photo.jpg").read_bytes() == b"precious"


def test_divergence_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NotLearning, match=r"the loss became .*--rate"):
        tl.pretrain("digits", "vicreg", out=tmp_path / "r", optimizer="sgd", rate=1e30, epochs=1, batch=128, hidden=16)
    assert not (tmp_path / "r").exists()


def test_settings_have_one_owner_each() -> None:
    views = discover.settings(discover.makers()["image"])
    for method in discover.methods().values():
        for factory in [*discover.encoders().values(), named]:
            groups = [discover.settings(method), discover.settings(factory), views, vars(Training())]
            names = [name for group in groups for name in group]
            assert len(names) == len(set(names)), f"{method.__name__}, {factory.__name__}: {sorted(names)}"


def test_public_names_are_these_and_importing_them_is_lazy() -> None:
    assert tl.__all__ == [
        "Batch",
        "InputError",
        "Maker",
        "Method",
        "Run",
        "Samples",
        "Views",
        "compare",
        "load",
        "pretrain",
    ]
    assert all(getattr(tl, name) is not None for name in tl.__all__)
    code = "import sys, twinlens; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_number_of_small_views_is_the_methods_unless_it_is_set(tmp_path: Path) -> None:
    few = tl.pretrain("digits", "swav", out=tmp_path / "few", small_views=1, small_size=4, prototypes=8, **SMALL)
    none = tl.pretrain("digits", "swav", out=tmp_path / "none", small_views=0, prototypes=8, **SMALL)
    assert few.metrics[-1]["views"] == 3 / 2 * none.metrics[-1]["views"]
    asked = tl.Views(2, 6, "asymmetric")
    assert Training().views(asked) == asked
    assert Training(small_views=3).views(asked) == tl.Views(2, 3, "asymmetric")
    assert Training(small_views=3).views(tl.Views(2)) == tl.Views(2)  # a method that asks for none gets none
