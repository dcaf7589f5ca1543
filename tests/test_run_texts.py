"""Whole runs over texts and pairs, small: every method that can, what a folder holds, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import twinlens as tl
from twinlens import discover
from twinlens.errors import InputError

SAID = [f"{['good', 'bad'][i % 2]} word{i % 7} and word{i % 11} then word{i % 13} word{i * 7 % 17}" for i in range(300)]
SMALL = {"epochs": 1, "batch": 128, "width": 16, "depth": 1, "heads": 2, "length": 12, "vocabulary": 100}
PICTURES = {"autoencoder", "bigan", "denoising", "ibot", "inpainting", "nextframe", "pretext", "vae"}
LABELS = {"cosent", "sbert", "supcon"}


def settings(name: str) -> dict[str, int]:
    return {key: min(v, 16) for key, v in discover.settings(discover.methods()[name]).items() if type(v) is int}


@pytest.mark.parametrize("name", sorted(set(discover.methods()) - PICTURES - LABELS))
def test_every_method_that_can_learns_from_texts(name: str, tmp_path: Path) -> None:
    run = tl.pretrain(SAID, name, out=tmp_path / "r", **SMALL, **settings(name))
    z = run.embed(SAID)
    assert z.shape == (300, 16) and np.isfinite(z).all()
    assert run.encoder.embed.weight.ne(run.untrained.embed.weight).any()  # type: ignore[union-attr]


def test_a_list_of_texts_heeds_how_they_become_ids(tmp_path: Path) -> None:
    few = tl.pretrain(SAID, "simclr", out=tmp_path / "few", hidden=16, **SMALL | {"vocabulary": 64})
    assert few.tokenizer is not None and few.tokenizer.vocabulary == 64
    same = tl.pretrain(
        SAID[:200], "simclr", out=tmp_path / "same", hidden=16, tokens=str(tmp_path / "few/tokenizer.json"), **SMALL
    )
    assert same.tokenizer is not None and same.tokenizer.fingerprint == few.tokenizer.fingerprint


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_what_needs_pictures_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="words"):
        tl.pretrain(SAID, name, out=tmp_path / "r", **SMALL, **settings(name))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [
        {"anchor": text, "positive": f"so {text}", "negative": SAID[i - 5], "label": i % 3, "amount": i % 6}
        for i, text in enumerate(SAID)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("ranking", {}),
        ("simclr", {"hidden": 16}),
        ("clip", {}),
        ("sbert", {}),
        ("sbert", {"objective": "regression", "score": "amount"}),
        ("cosent", {"score": "amount"}),
        ("mlm", {}),
    ],
)
def test_pairs_of_texts(name: str, how: dict[str, object], pairs: Path, tmp_path: Path) -> None:
    run = tl.pretrain(pairs, name, out=tmp_path / "r", **SMALL, **how)
    assert run.modality == "text+text+text"
    assert run.embed(pairs).shape == (300, 16)
    assert tl.load(run.folder).embed(pairs).tolist() == run.embed(pairs).tolist()
    if name == "sbert" and not how:
        assert run.model.classes == 3  # as many as the data has


def test_scores_are_no_classes(tmp_path: Path) -> None:
    rows = [{"anchor": text, "positive": f"or {text}", "score": i / 300} for i, text in enumerate(SAID)]
    path = tmp_path / "scored.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tl.pretrain(path, "simclr", out=tmp_path / "r", hidden=16, **SMALL)
    assert run.metrics and not any("knn" in row for row in run.metrics)
    with pytest.raises(InputError, match=r"scored holds pairs and no classes: twinlens\.alignment\.evaluate"):
        run.evaluate(path)


def test_a_run_further_starts_from_the_other_and_keeps_where_that_began(tmp_path: Path) -> None:
    first = tl.pretrain(SAID, "mlm", out=tmp_path / "a", **SMALL)
    still = {"rate": 1e-12, "decay": 0.0}
    second = tl.pretrain(SAID, "simclr", encoder=str(first.folder), out=tmp_path / "b", hidden=16, **{**SMALL, **still})
    assert second.tokenizer.fingerprint == first.tokenizer.fingerprint  # type: ignore[union-attr]
    for one, other in ((first.encoder, second.encoder), (first.untrained, second.untrained)):
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q)
    with pytest.raises(InputError, match="width"):
        tl.pretrain(SAID, "simclr", encoder=str(first.folder), out=tmp_path / "c", **{**SMALL, "width": 32})


def test_the_report_and_the_metrics_are_there(tmp_path: Path) -> None:
    run = tl.pretrain(["<script>alert(1)</script> " + text for text in SAID], out=tmp_path / "r", hidden=16, **SMALL)
    page = (run.folder / "report.html").read_text()
    assert "word" in page and "<script>alert(1)" not in page
    assert {"anisotropy", "spread"} <= set(run.metrics[-1])


def test_labels_are_probed_beside_what_texts_have_to_beat(tmp_path: Path) -> None:
    data = tmp_path / "told.csv"
    data.write_text("text,label\n" + "\n".join(f"{text},{i % 2}" for i, text in enumerate(SAID)))
    run = tl.pretrain(data, "simclr", out=tmp_path / "r", hidden=16, **SMALL)
    found = {one.name: one for one in run.evaluate(data, allow_leaks=True).results}
    assert found["linear probe"].baselines["raw input"].value == 1.0  # "good" and "bad" are words
    assert {"untrained encoder", "majority class"} <= set(found["knn"].baselines)


def test_long_texts_may_be_embedded_whole(tmp_path: Path) -> None:
    run = tl.pretrain(SAID, "mlm", out=tmp_path / "r", whole=True, **SMALL)
    long = " ".join(SAID[:4])
    z = run.embed([long, SAID[0], SAID[0] + " ."])
    words = run.tokenizer.encode([long])[0]  # type: ignore[union-attr]
    pieces = [torch.tensor([[2, *piece, 3]]) for piece in words.split(10)]
    alone = torch.cat([run.encoder(piece) for piece in pieces]).mean(0)
    torch.testing.assert_close(torch.from_numpy(z[0]), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["ranking", "mlm"])
def test_parts_by_words_change_no_weight(name: str, tmp_path: Path) -> None:
    said = [" ".join(text.split()[: 2 + i % 5]) + f" {i}" for i, text in enumerate(SAID)]
    how = {**SMALL, "precision": "64-true", "optimizer": "sgd", "rate": 0.3, "epochs": 2, "dropout": 0.1}
    one, parts = (tl.pretrain(said, name, out=tmp_path / str(n), micro_tokens=n, **how) for n in (0, 200))
    for p, q, first in zip(*(run.parameters() for run in (one.encoder, parts.encoder, one.untrained)), strict=True):
        torch.testing.assert_close(p, q)
        assert not torch.equal(p, first) or not p.requires_grad


def test_pictures_with_captions_are_judged_by_their_labels_too(tmp_path: Path, folder: Path, pictures: tl.Run) -> None:
    labelled = pictures.read(str(folder / "photos")).train.labelled(np.arange(36) % 3, ("red", "green", "blue"))
    found = pictures.evaluate(labelled, allow_leaks=False)
    assert {"raw input", "untrained encoder"} <= set(found.results[0].baselines)
