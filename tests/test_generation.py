"""Reconstructions and drawn samples of a small run: errors against loops, distances beside the best and the worst."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import twinlens as tl
from twinlens import discover, random
from twinlens.cli.main import run as command
from twinlens.data.load import load as load_data
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.errors import InputError
from twinlens.evaluate.two_sample import kid
from twinlens.generation import reconstruction, sheet, two_sample
from twinlens.report.learnt import drawn
from twinlens.views.colour import pixels

CPU = torch.device("cpu")


class Tiny(tl.Method):
    """A linear autoencoder whose codes are drawn from a normal distribution, arXiv 0000.00000."""

    views, coupled = tl.Views(large=1, strength="weak"), False

    def __init__(self, encoder: nn.Module, *, codes: int = 4) -> None:
        super().__init__()
        self.encoder, self.codes = encoder, codes
        self.shape = shape_of(encoder)
        self.down = nn.Linear(dim_of(encoder), codes)
        self.up = nn.Linear(codes, int(np.prod(self.shape)))

    def encode(self, batch):
        x = batch.views[0]
        code = self.code(x)
        return ((self.decode(code) - x).square().flatten(1).mean(1) + 0.1 * code.square().mean(1),)

    def compare(self, loss):
        return loss.mean()

    def code(self, view):
        return self.down(self.encoder(view))

    def decode(self, code):
        level = next(self.encoder.parameters()).mean()  # what is drawn depends on the encoder too
        return (self.up(code) + level).unflatten(1, self.shape)

    def draw(self, key):
        return random.normal(key, self.codes)


class Drawn(nn.Module):
    """Draws what it is given, and decodes to what it is given."""

    def __init__(self, decode):
        super().__init__()
        self.decode, self.code, self.draw = decode, lambda view: view, lambda key: key


@pytest.fixture(scope="module", autouse=True)
def known():
    every = discover.methods()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discover, "methods", lambda: {**every, "tiny": Tiny})
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "tiny"
    return tl.pretrain("digits", "tiny", out=path, epochs=4, batch=64, width=16, min_scale=0.9, rate=0.02).folder


@pytest.fixture
def run(folder):
    return tl.load(folder)


@pytest.fixture(scope="module")
def parts():
    """Training and test pictures as views, by numpy."""
    split = load_data("digits", size=None)
    return tuple(part.fetch(torch.arange(len(part)))[0].permute(0, 3, 1, 2).double() / 255 * 4 - 2
                 for part in (split.train, split.test))  # fmt: skip


def test_the_report_shows_what_was_drawn(folder):
    text = (folder / "report.html").read_text()
    assert 'id="drawn"' in text and 'id="decoded-between"' in text and 'id="what-it-predicts"' not in text
    with np.load(folder / "report.npz") as kept:
        expected = next(drawn(tl.load(folder).model, 32, seed=0, device=CPU))
        assert (kept["drawn"] == pixels(expected.detach())).all()


def test_the_error_is_that_of_loops(run, parts):
    train, test = parts
    mean = train.mean(0)
    run.__dict__["model"] = Drawn(lambda view: view * 0.5 + 0.25)
    found = reconstruction(run, "digits")
    errors = [sum((0.5 * v + 0.25 - v) ** 2 for v in view.flatten().tolist()) / 64 for view in test]
    guesses = [((view - mean) ** 2).mean() for view in test]
    assert found.value == pytest.approx(np.mean(errors), rel=1e-4)
    assert found.baselines["mean training picture"].value == pytest.approx(np.mean(guesses), rel=1e-6)
    half = 1.96 * np.std(errors) / len(errors) ** 0.5
    assert np.subtract(found.interval, found.value) == pytest.approx([-half, half], rel=0.15)
    assert found.settings["test"] == len(test) == 360 and found.settings["training"] == len(train)


def test_what_comes_back_as_it_was_has_no_error(run):
    run.__dict__["model"] = Drawn(lambda view: view)
    assert reconstruction(run, "digits").value == 0


def test_a_trained_method_reconstructs_better_than_the_mean(run):
    found = reconstruction(run, "digits")
    assert found.interval[1] < found.baselines["mean training picture"].interval[0]


def test_the_distance_is_between_features_of_drawn_and_of_real(run, parts):
    train, test = (part.float().flatten(1) for part in parts)
    found = two_sample(run, "digits", nn.Flatten(), seed=2)
    made = torch.cat(list(drawn(run.model, 360, seed=2, device=CPU))).detach().flatten(1)
    assert found.value == pytest.approx(kid(test, made, seed=2).value, rel=1e-4)
    spaced = train[torch.linspace(0, len(train) - 1, len(train)).long()]
    assert found.baselines["training pictures"].value == pytest.approx(kid(test, spaced, seed=2).value, rel=1e-2)
    before = run.new_method(run.new_encoder({"channels": 1}), 1)
    made = torch.cat(list(drawn(before, 360, seed=2, device=CPU))).detach().flatten(1)
    assert found.baselines["before training"].value == pytest.approx(kid(test, made, seed=2).value, rel=1e-4)
    few = two_sample(run, "digits", nn.Flatten(), count=50)
    assert (few.settings["real"], few.settings["drawn"]) == (50, 50)


def test_drawn_samples_come_nearer_by_training_and_real_ones_are_nearest(run):
    found = two_sample(run, "digits", run.untrained)
    beside = found.baselines
    assert beside["training pictures"].interval[1] < found.interval[0]
    assert found.interval[1] < beside["before training"].interval[0]


def test_features_are_frozen_and_handed_back(run):
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64))
    two_sample(run, "digits", encoder)
    assert encoder.training and not encoder[1].running_mean.any()


def test_the_run_keeps_a_model_that_can_be_trained(run):
    sheet(run, count=1)
    assert not any(p.is_inference() or not p.requires_grad for p in run.model.parameters())


def test_a_sheet_holds_what_is_drawn_in_rows(run):
    run.__dict__["model"] = Drawn(
        lambda key: torch.linspace(-2, 2, 5)[: len(key), None, None, None].expand(-1, 3, 9, 4)
    )
    made = sheet(run, count=5)
    assert made.shape == (2 * 63 + 2, 3 * 28 + 2 * 2, 3) and made.dtype == np.uint8  # 9 x 4 pixels, seven times
    levels = [made[row + 30, column + 10, 0] for row in (0, 65) for column in (0, 30, 60)]
    assert levels == [0, 64, 127, 191, 255, 255] or levels == [0, 64, 128, 191, 255, 255]
    assert (made[63:65] == 255).all() and (made[:63, 28:30] == 255).all() and made[62, 27, 0] == 0


def test_a_large_picture_is_left_as_it_is(run):
    run.__dict__["model"] = Drawn(lambda key: torch.zeros(len(key), 1, 70, 100))
    assert sheet(run, count=1).shape == (70, 100, 1)


@pytest.mark.parametrize("measure", [reconstruction, lambda run, data: two_sample(run, data, nn.Flatten())])
def test_what_cannot_be_measured_is_refused(run, measure, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 8, 8), np.uint8))
    with pytest.raises(InputError, match="has no test part"):
        measure(run, tmp_path / "a.npy")
    run.__dict__["model"] = nn.Identity()
    with pytest.raises(InputError, match=r"tiny (decodes no codes|draws no samples): train .* tiny"):
        measure(run, "digits")


def test_a_sheet_of_what_is_no_picture_is_refused(run):
    with pytest.raises(InputError, match="count = 0"):
        sheet(run, count=0)
    run.__dict__["model"] = Drawn(lambda key: torch.zeros(len(key), 7))
    with pytest.raises(InputError, match=r"shape \(7,\)"):
        sheet(run, count=2)


def test_the_command_writes_a_picture_and_prints_what_it_measures(folder, tmp_path, capsys):
    assert command(["generate", str(folder), "--count", "4", "--out", str(tmp_path / "new" / "s.png")]) == 0
    assert capsys.readouterr().out == ""
    with Image.open(tmp_path / "new" / "s.png") as picture:
        assert picture.size == (130, 130) and picture.mode == "L"
    assert command(["generate", str(folder), "--data", "digits", "--features", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found] == ["reconstruction error", "KID"] and (folder / "samples.png").exists()
    assert command(["generate", str(folder), "--data", "digits"]) == 0
    said = capsys.readouterr().out
    assert "mean training picture" in said and "before training" in said
    facts = json.loads((folder / "run.json").read_text())
    facts["views"]["size"] = 16
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert command(["generate", str(folder), "--data", "digits", "--features", str(tmp_path)]) == 2
    assert "sees views of channels 1, size 16, tiny draws some of channels 1, size 8" in capsys.readouterr().err
