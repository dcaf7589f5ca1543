"""An index finds what a loop over all cosines finds, keeps what it has embedded, and says what it cannot."""

from math import nan
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import COLOURS, rows, write
from torch.nn.functional import normalize

import twinlens as tl
from twinlens.data.source import Source
from twinlens.data.text import from_texts
from twinlens.errors import InputError
from twinlens.search import Hit, Index

pytestmark = pytest.mark.usefixtures("one_cache")


def test_finds_what_a_loop_over_all_finds(texts: tl.Run) -> None:
    corpus = [f"{row['positive']}{' red' * (i % 3)}" for i, row in enumerate(rows(40))]  # of several lengths
    made = Index.build(texts, corpus)
    found = made.search("a red dog", k=7)

    def embedded(some: list[str]) -> torch.Tensor:
        return normalize(texts.embeddings(from_texts(some, tokenizer=texts.tokenizer)))

    cosine = (embedded(corpus) @ embedded(["a red dog"])[0]).tolist()
    best = sorted(range(40), key=lambda i: -cosine[i])[:7]
    assert [hit.rank for hit in found] == list(range(1, 8))
    assert [hit.what for hit in found] == [corpus[i] for i in best] and [hit.row for hit in found] == best
    assert [hit.cosine for hit in found] == pytest.approx([cosine[i] for i in best], abs=1e-5)
    assert made.search(corpus[5], k=1)[0] == Hit(1, pytest.approx(1, abs=1e-5), corpus[5], 5)
    assert len(made.search("a", k=1000)) == 40


def test_a_part_is_searched_test_rows_come_last_and_equal_texts_are_one(folder: Path, texts: tl.Run) -> None:
    some = [{**row, "anchor": row["anchor"] if i else "a red tree"} for i, row in enumerate(rows(24, test=6))]
    some[20]["anchor"] = "a red tree"
    data = Source(path=write(folder / "split.jsonl", some, "anchor", "positive", "part"), split="part")
    first, second = (Index.build(texts, data, part=part) for part in ("first", "second"))
    assert (len(first), len(second)) == (23, 24)
    assert first.search("a red tree", k=1)[0].row == 0
    assert first.search(str(some[21]["anchor"]), k=1)[0].row == 21
    assert second.search(str(some[23]["positive"]), k=1)[0][2:] == (some[23]["positive"], 23)


def test_a_text_finds_pictures_and_a_picture_itself(folder: Path, pictures: tl.Run) -> None:
    plain = folder / "plain"  # pictures alone, without captions
    for name in COLOURS:
        for file in sorted((folder / "photos" / name).glob("*.png")):
            (plain / name).mkdir(parents=True, exist_ok=True)
            (plain / name / file.name).write_bytes(file.read_bytes())
    for data in (plain, folder / "photos"):
        made = Index.build(pictures, str(data))
        assert len(made) == 36
        for colour in COLOURS:
            assert all(hit.what.startswith(colour) for hit in made.search(f"something {colour}", k=5))
        file = plain / "red" / "3.png"
        for query in (file, str(file)):
            hit = made.search(query, k=1)[0]
            assert hit.what == "red/3.png" and hit.cosine == pytest.approx(1, abs=1e-5)
    captions = Index.build(pictures, str(folder / "photos"), part="second")
    assert "green" in captions.search(plain / "green" / "1.png", k=1)[0].what


def test_an_index_is_kept_and_made_anew_where_something_changed(
    folder: Path, texts: tl.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "kept.jsonl"
    write(path, rows(30), "anchor", "positive")
    made = Index.keep(texts, str(path))
    file = texts.folder / "index-kept-first.parquet"
    assert file.exists()
    with monkeypatch.context() as patch:
        patch.setattr(tl.Run, "embeddings", None)  # nothing is embedded again
        patch.setattr(tl.Run, "read", None)  # and a file is not even read
        again = Index.keep(texts, str(path))
    assert torch.equal(again.vectors, made.vectors) and again.what == made.what and torch.equal(again.rows, made.rows)
    assert again.search("a blue bird") == made.search("a blue bird")
    with monkeypatch.context() as patch:
        patch.setattr(tl.Run, "embeddings", None)
        with pytest.raises(TypeError):  # another part
            Index.keep(texts, str(path), file, part="second")
    write(path, rows(31), "anchor", "positive")
    assert len(Index.keep(texts, str(path))) == 31
    weights = texts.folder / "encoder.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes((texts.folder / "untrained.safetensors").read_bytes())
        changed = Index.keep(tl.load(texts.folder), str(path))
        assert not torch.equal(changed.vectors[:30], made.vectors)
    finally:
        weights.write_bytes(content)
    assert not list(texts.folder.glob(".index*"))


def test_data_of_equal_content_is_embedded_once(
    folder: Path, pictures: tl.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Index.keep(pictures, str(folder / "photos"), folder / "there.parquet")
    monkeypatch.setattr(tl.Run, "embeddings", None)
    again = Index.keep(pictures, str(folder / "photos"), folder / "there.parquet")
    assert torch.equal(again.vectors, made.vectors) and again.facts == made.facts and again.facts.source == ""


def test_a_diverged_encoder_is_refused(folder: Path, texts: tl.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tl.Run, "embeddings", lambda run, samples: torch.full((len(samples), 2), nan))
    with pytest.raises(InputError, match="2 of 2 embeddings are not finite: the encoder has diverged"):
        Index.build(texts, ["one", "two"])


def test_what_cannot_be_searched_is_said(folder: Path, texts: tl.Run, pictures: tl.Run) -> None:
    made = Index.build(texts, ["one", "two", "three"])
    with pytest.raises(InputError, match="is a picture, and this run's encoder has learnt from texts alone"):
        made.search(folder / "photos" / "red" / "0.png")
    with pytest.raises(InputError, match="k is 0: expected 1 or more"):
        made.search("one", k=0)
    with pytest.raises(InputError, match="texts has no second part"):
        Index.build(texts, ["one", "two"], part="second")
    seen = tl.pretrain(np.zeros((16, 8, 8), np.uint8), out=folder / "seen", epochs=1, batch=8, hidden=8, dim=8)
    of_pictures = Index.build(seen, np.random.default_rng(0).integers(0, 255, (9, 8, 8), dtype=np.uint8))
    with pytest.raises(InputError, match="there is no file 'a cat': this encoder sees pictures alone"):
        of_pictures.search("a cat")
    (folder / "broken.png").write_text("no picture")
    with pytest.raises(InputError, match=r"broken\.png is no picture that can be read"):
        of_pictures.search(folder / "broken.png")
    assert of_pictures.search(str(folder / "photos" / "red" / "0.png"), k=2)[0].what.startswith("train ")
    mine = folder / "mine.parquet"
    texts.embed_to(["one", "two"], mine)
    before = mine.read_bytes()
    with pytest.raises(InputError, match=r"mine\.parquet is no index, and is not written over: choose another"):
        Index.keep(texts, ["one", "two"], mine)
    assert mine.read_bytes() == before
