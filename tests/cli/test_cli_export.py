"""twinlens export: a run on texts as a folder that others open."""

import numpy as np
import pytest
import torch

from twinlens.cli.main import run
from twinlens.data.tokenizer import Tokenizer
from twinlens.encoders.hub import text_encoder
from twinlens.export import load_words
from twinlens.run import load

pytest.importorskip("transformers")
SETTINGS = ("--epochs", "1", "--batch", "8", "--length", "12")
OWN = ("--width", "16", "--depth", "1", "--heads", "2", "--vocabulary", "64")


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TWINLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    lines = [f"the {animal} sees {count} birds" for animal in ("cat", "dog", "fox") for count in range(10)]
    (folder / "texts.txt").write_text("\n".join(lines))
    texts, out = str(folder / "texts.txt"), str(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINLENS_CACHE", str(folder / "cache"))
        assert run(["pretrain", texts, "--method", "simclr", "--out", out, *SETTINGS, *OWN]) == 0
    return folder / "run"


@pytest.mark.parametrize("form", ["sentence-transformers", "transformers"])
def test_a_run_is_exported(trained, tmp_path, form):
    assert run(["export", str(trained), "--out", str(tmp_path / "out"), "--format", form]) == 0
    view = torch.tensor([[2, 9, 8, 3], [2, 7, 3, -1]])
    expected = load(trained).encoder(view)
    assert torch.equal(load_words(tmp_path / "out")(view), expected)
    torch.testing.assert_close(text_encoder(str(tmp_path / "out")).eval()(view), expected, rtol=0, atol=1e-5)
    assert Tokenizer.load(tmp_path / "out").fingerprint == load(trained).tokenizer.fingerprint
    assert (tmp_path / "out" / "modules.json").exists() is (form == "sentence-transformers")
    assert run(["export", str(trained), "--out", str(tmp_path / "out")]) == 2


def test_an_encoder_from_elsewhere_is_trained_further_and_exported(trained, tmp_path):
    start, out = tmp_path / "start", tmp_path / "run"
    assert run(["export", str(trained), "--out", str(start)]) == 0
    texts = str(trained.parent / "texts.txt")
    given = ("--encoder", f"transformers/{start}", "--method", "simclr")
    assert run(["pretrain", texts, *given, "--out", str(out), *SETTINGS]) == 0
    view = torch.tensor([[2, 9, 8, 3], [2, 7, 3, -1]])
    torch.testing.assert_close(load(out).untrained(view), load(trained).encoder(view), rtol=0, atol=1e-5)
    assert run(["export", str(out), "--out", str(tmp_path / "end")]) == 0
    found = text_encoder(str(tmp_path / "end")).eval()(view)
    torch.testing.assert_close(found, load(out).encoder(view), rtol=0, atol=1e-6)
    assert not torch.allclose(found, load(trained).encoder(view), atol=1e-4)


def test_an_encoder_of_pictures_is_refused(tmp_path, capsys):
    np.save(tmp_path / "pictures.npy", np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8))
    out = str(tmp_path / "run")
    assert run(["pretrain", str(tmp_path / "pictures.npy"), "--epochs", "1", "--batch", "8", "--out", out]) == 0
    assert run(["export", out, "--out", str(tmp_path / "out")]) == 2
    assert "only one of texts" in capsys.readouterr().err
